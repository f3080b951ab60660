"""The file's shape, and what is said when a file does not have it."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from gateway.hold import HoldField


class BadFile(Exception):
    """The file cannot be used. Every problem names its place, like ``tenants[0].weight``."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Entry(BaseModel):
    """One item of a list. A field that is not written is left as it is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class QuotaEntry(Entry):
    """A quota in its long form; a number alone is the limit."""

    limit: int
    when_exhausted: Literal["wait", "refuse"] = "wait"


def _long(written: Any) -> Any:
    return written if isinstance(written, dict) else {"limit": written}


Quotas = dict[str, Annotated[QuotaEntry, BeforeValidator(_long)]]


class BoostEntry(Entry):
    """A factor on a tenant's weight until a moment; ``boost: null`` ends it."""

    factor: int
    until: AwareDatetime = Field(strict=False)


class TenantEntry(Entry):
    """A tenant by its slug. Quotas that are written replace all of its quotas, of models likewise."""

    slug: str
    name: str | None = None
    weight: int | None = None
    priority_class: str | None = Field(None, alias="class")
    quotas: Quotas | None = None
    model_quotas: dict[str, Quotas] | None = None
    suspended: bool | None = None
    paused: bool | None = None
    boost: BoostEntry | None = None


class PricesEntry(Entry):
    """Micro-units of money per million tokens of each kind."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0


class ModelEntry(Entry):
    """A served model, the pool that serves it, what its tokens cost, and who stands in for it."""

    name: str
    pool: str
    prices: PricesEntry | None = None
    fallbacks: list[str] | None = None


class AliasEntry(Entry):
    """A name that stands for served models. Targets that are written replace all of its targets."""

    name: str
    targets: dict[str, int] | None = None
    fallbacks: list[str] | None = None


class BackendEntry(Entry):
    """A backend by its name. The API key comes from an environment variable, the CA from a file."""

    name: str
    pool: str
    url: str
    engine: str | None = None
    models: list[str] | None = None
    max_in_flight: int | None = None
    kv_tokens: int | None = None
    poll_every_ms: int | None = None
    priority_order: str | None = None
    api_key_env: str | None = None
    ca_file: str | None = None


class ClassEntry(Entry):
    """A class by its name."""

    name: str
    rank: int | None = None
    reserved_seats: int | None = None
    lent_seats: int | None = None
    max_wait_s: int | None = None


def _switch(written: Any) -> Any:
    # YAML reads a bare `off` as false.
    return "off" if written is False else written


class PolicyEntry(Entry):
    """How one pool shares and admits."""

    pool: str
    fairness: str | None = None
    admission: str | None = None
    window_requests: int | None = Field(None, alias="window")
    engine_queue_target_requests: int | None = Field(None, alias="engine_queue_target")
    tpot_target_ms: int | None = None
    stale: str | None = None
    counts_sent: bool | None = None
    kv_fill_percent: int | None = None
    prefix_slack_requests: int | None = Field(None, alias="prefix_slack")
    engine_priority: Annotated[str | None, BeforeValidator(_switch)] = None
    paused: bool | None = None
    prompt_weight: int | None = None
    completion_weight: int | None = None
    cached_discount_percent: int | None = None


class TokenEntry(Entry):
    """An API token by its tenant and name. The secret comes from an environment variable."""

    tenant: str
    name: str
    secret_env: str | None = None
    class_ceiling: str | None = Field(None, alias="class")
    quotas: Quotas | None = None
    models: list[str] | None = None
    hold_status_s: HoldField = None
    expires_at: AwareDatetime | None = Field(None, strict=False)


class Document(Entry):
    """The whole file. A section that is not written is left as it is, also by ``--prune``."""

    tenants: list[TenantEntry] | None = None
    models: list[ModelEntry] | None = None
    aliases: list[AliasEntry] | None = None
    backends: list[BackendEntry] | None = None
    classes: list[ClassEntry] | None = None
    policies: list[PolicyEntry] | None = None
    tokens: list[TokenEntry] | None = None


ENTRIES: dict[str, type[Entry]] = {
    "tenants": TenantEntry,
    "models": ModelEntry,
    "aliases": AliasEntry,
    "backends": BackendEntry,
    "classes": ClassEntry,
    "policies": PolicyEntry,
    "tokens": TokenEntry,
}
INNER: dict[int | str, type[Entry]] = {
    "boost": BoostEntry,
    "quotas": QuotaEntry,
    "model_quotas": QuotaEntry,
    "prices": PricesEntry,
}


def read(text: str) -> Document:
    """The file's content, checked for its shape. Raises BadFile."""
    try:
        raw = yaml.load(text, Loader=_NoDuplicates)  # noqa: S506 - a SafeLoader, made stricter below
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # 2027-02-30 is YAML, and no day
        raise BadFile([f"This is not YAML: {error}"]) from None
    try:
        return Document.model_validate({} if raw is None else raw)
    except ValidationError as error:
        raise BadFile([_problem(each) for each in error.errors()]) from None


def written_name(entry: type[Entry], field: str) -> str:
    """The field's name as the file has it."""
    known = entry.model_fields.get(field)
    return (known and known.alias) or field


def _problem(error: ErrorDetails) -> str:
    place = _place(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown. {_nearest(error['loc'])}"
    if error["type"] == "missing":
        return f"{place}: missing. Write it."
    return f"{place or 'the file'}: {error['msg']}, not {_short(error['input'])}."


def _place(location: Sequence[int | str]) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return place.removeprefix(".")


def _nearest(location: Sequence[int | str]) -> str:
    entry = Document if len(location) == 1 else ENTRIES[str(location[0])]
    for inner in location[2:-1]:
        entry = INNER.get(inner, entry)
    valid = [written_name(entry, name) for name in entry.model_fields]
    near = difflib.get_close_matches(str(location[-1]), valid, n=1)
    return f"Did you mean {near[0]}?" if near else f"Use one of: {', '.join(valid)}."


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


class _NoDuplicates(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; we do not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a list or a mapping is no name of a field", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
