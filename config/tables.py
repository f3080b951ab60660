"""The tables of docs/settings.md and docs/errors.md, printed from the code: `python -m config.tables`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gateway.input_errors  # noqa: F401 - its refusals are listed too
from config.knobs import KNOBS
from gateway.batches import errors as _batches  # noqa: F401 - its refusals are in the table too
from gateway.engine_errors import ENGINE_MESSAGES, EngineFailed, engine_failed
from gateway.errors import Refused
from gateway.own import errors as own_errors  # noqa: F401 - their classes are found by their base

DOCS = Path(__file__).resolve().parent.parent / "docs"

SETTINGS_HEAD = """# Settings

Every setting is an environment variable; its last word is its unit, where it has one. A value of the wrong kind stops the start with its name.

`DATABASE_URL` and `REDIS_URL` replace the embedded PostgreSQL and Valkey, `FAIRLANE_DATA_DIR` (default `./var`) is where
they keep their data, and `FAIRLANE_SECRET_KEY` replaces the key that the first start makes there. This table is printed by
`python -m config.tables`.

| variable | default | what it does |
|---|---|---|
"""

ERRORS_HEAD = """# Errors of the data plane

Every error has OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`, but on the Messages API Anthropic's, whose
types and statuses [endpoints.md](endpoints.md) has; every answer carries `x-request-id`. Where a retry can help there are
`retry-after` (seconds, 1 to 75) and `retry-after-ms`, spread by a quarter; where it cannot, `x-should-retry: false`. A full
line tells when a place in it will be free, at its pace of late. An engine's own 400, 404, 409, 413, 415, 422 or 501 keeps its
words, and what it left out of the shape is put in: the code is `upstream_4xx` then. Its 429 and 503 say that it is full, and the
request goes back into line. Its other 4xx answers are between it and the gateway, such as a wrong key for the engine, and are a 502. After the first byte of a stream an error is a last event, and
then the connection is aborted: a stream without its API's own last event (`data: [DONE]`, `response.completed`,
`message_stop`) is never complete. This table is printed by `python -m config.tables`.

| status | code | type | retry | meaning |
|---|---|---|---|---|
"""


def settings_page() -> str:
    """docs/settings.md."""
    rows = (f"| `{knob.name}` | `{knob.default}` | {knob.help} |" for knob in KNOBS)
    return SETTINGS_HEAD + "\n".join(rows).replace("| `` |", "| empty |") + "\n"


def errors_page() -> str:
    """docs/errors.md."""
    rows = [_row(kind, kind.code, " ".join((kind.__doc__ or "").split())) for kind in _leaves(Refused)]
    rows += [_row(engine_failed(outcome), outcome, message) for outcome, message in ENGINE_MESSAGES.items()]
    lines = sorted(set(rows))
    return ERRORS_HEAD + "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    return {DOCS / "settings.md": settings_page(), DOCS / "errors.md": errors_page()}


def _row(refused: Refused | type[Refused], code: str, meaning: str) -> str:
    retry = "yes" if refused.retry_after_ms else "no"
    return f"| {refused.status} | `{code}` | `{refused.type}` | {retry} | {meaning} |"


def _leaves(kind: type[Refused]) -> Iterator[type[Refused]]:
    """Every refusal that is Fairlane's own; the engines' are listed by outcome."""
    for child in kind.__subclasses__():
        if child is not EngineFailed:
            yield child
            yield from _leaves(child)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
