"""Which engine answers: by its metric series, by what it calls itself, and by paths that only it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduling.engines.exposition import BadPage
from scheduling.engines.fetch import Answer, NoAnswer
from scheduling.engines.jsonpage import decoded
from scheduling.engines.registry import TABLES
from scheduling.engines.table import Blind, Reading, Setup, Table

# The first that fits is it: NIM's page may bear vLLM's names, but stands where vLLM has none.
ORDER = ("nim", "trtllm", "vllm", "sglang", "tgi", "llamacpp", "lmdeploy", "triton")
# What engines write as ``owned_by`` into /v1/models, or as Server into their headers.
CALLED = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
    "llama.cpp": "llamacpp",
    "lmdeploy": "lmdeploy",
    "tensorrt_llm": "trtllm",
    "triton inference server": "triton",
    "library": "ollama",
}
# A path, the field that its JSON has, and whose it is. A reading of /version alone is vLLM's.
ENDPOINTS = (
    ("/get_server_info", "internal_states", "sglang"),
    ("/info", "max_concurrent_requests", "tgi"),
    ("/props", "total_slots", "llamacpp"),
    ("/api/version", "version", "ollama"),
    ("/version", "version", "vllm"),
)


@dataclass(slots=True)
class Visit:
    """One visit at an engine: each path is asked once. ``ask`` raises NoAnswer."""

    ask: Callable[[str], Answer]
    _said: dict[str, Answer | NoAnswer] = field(default_factory=dict)

    def answer(self, path: str) -> Answer:
        """The answer at this path. Raises NoAnswer, also the second time."""
        if path not in self._said:
            try:
                self._said[path] = self.ask(path)
            except NoAnswer as problem:
                self._said[path] = problem
        said = self._said[path]
        if isinstance(said, NoAnswer):
            raise said
        return said

    def page(self, path: str) -> str | None:
        """The text at this path; None when there is no answer with status 200."""
        try:
            answer = self.answer(path)
        except NoAnswer:
            return None
        return answer.text if answer.status == 200 else None


def detect(visit: Visit) -> str:
    """The engine that answers; "openai" when none of the ways to tell tells."""
    return _by_pages(visit) or _by_name(visit) or _by_endpoints(visit) or "openai"


def models(text: str) -> list[Mapping[str, Any]]:
    """The rows of /v1/models. Raises BadPage when it is no such list."""
    page = decoded(text)
    rows = page.get("data") if isinstance(page, Mapping) else None
    if not isinstance(rows, list):
        raise BadPage("broken page: /v1/models has no list of models")
    return [row for row in rows if isinstance(row, Mapping)]


def reading(table: Table, visit: Visit) -> Reading:
    """What the engine tells now, with its configuration. Raises Blind or BadPage with the reason."""
    problem: ValueError = Blind(f"no metric page; {table.switch}")
    for page in table.pages:
        if (text := visit.page(page.path)) is not None:
            try:
                return table.read(text, page)
            except (Blind, BadPage) as error:
                problem = error
    raise problem


def setup(table: Table, visit: Visit) -> Setup | None:
    """What the pages of its configuration say; None when there are none that do."""
    for page in table.setup:
        if (text := visit.page(page.path)) is not None:
            try:
                return table.read_setup(text, page)
            except (Blind, BadPage):
                continue
    return None


def _by_pages(visit: Visit) -> str:
    for name in ORDER:
        page = TABLES[name].pages[0]
        if (text := visit.page(page.path)) is not None:
            try:
                TABLES[name].read(text, page)
            except (Blind, BadPage):
                continue
            return name
    return ""


def _by_name(visit: Visit) -> str:
    try:
        answer = visit.answer("/v1/models")
        names = [str(row.get("owned_by")) for row in models(answer.text)]
    except (NoAnswer, BadPage):
        return ""
    called = [*names, answer.headers.get("server", "")]
    return next((CALLED[name.lower()] for name in called if name.lower() in CALLED), "")


def _by_endpoints(visit: Visit) -> str:
    for path, named, engine in ENDPOINTS:
        if (text := visit.page(path)) is not None:
            try:
                page = decoded(text)
            except BadPage:
                continue
            if isinstance(page, Mapping) and named in page:
                return engine
    return ""
