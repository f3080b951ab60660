"""What a file asks for, with its references to environment variables and files looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

from gateway import tokens
from gateway.declarative.document import (
    ENTRIES,
    BackendEntry,
    BadFile,
    BoostEntry,
    Document,
    Entry,
    PricesEntry,
    QuotaEntry,
    Quotas,
    TokenEntry,
)
from scheduling.core.policy import MINUTE_KINDS
from scheduling.quotas import WAIT, Written

_NULLABLE = (
    "max_wait_s",
    "tpot_target_ms",
    "prefix_slack_requests",
    "max_in_flight",
    "kv_tokens",
    "poll_every_ms",
    "boost",
    "hold_status_s",
)

Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file as a state, the place of every row in it, and the secrets of its API tokens."""

    state: dict[str, Rows]
    places: dict[tuple[str, str], str]
    secrets: dict[str, str] = field(repr=False)


@dataclass(slots=True)
class _Reader:
    """Looks references up, and gathers every problem instead of stopping at the first."""

    environ: Mapping[str, str]
    folder: Path
    problems: list[str] = field(default_factory=list)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def variable(self, name: str, place: str) -> str:
        value = self.environ.get(name, "")
        if not value:
            self.problems.append(f"{place}: the environment variable {name} is not set, or empty. Set it.")
        return value

    def file(self, name: str, place: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{place}: {name} cannot be read ({error}). Give the path of a PEM file.")
            return ""

    def put(self, rows: Rows, section: str, name: str, fields: dict[str, Any], place: str) -> None:
        if earlier := self.places.get((section, name)):
            self.problems.append(f"{place}: {name} is in {earlier} already. Write it once.")
        self.places[section, name] = place
        rows[name] = fields


def wanted(document: Document, environ: Mapping[str, str], folder: Path) -> Wanted:
    """The state that a file asks for. Relative paths are from ``folder``. Raises BadFile."""
    reader = _Reader(environ, folder)
    state: dict[str, Rows] = {}
    for section in ENTRIES:
        entries: list[Entry] | None = getattr(document, section)
        if entries is None:
            continue
        state[section] = {}
        for number, entry in enumerate(entries):
            place = f"{section}[{number}]"
            name, fields = _row(reader, entry, place)
            reader.put(state[section], section, name, fields, place)
            if section == "models" and "fallbacks" in fields:
                # They may name models further down, so they are set when all are there.
                reader.places["fallbacks", name] = place
                state.setdefault("fallbacks", {})[name] = {"fallbacks": fields.pop("fallbacks")}
    pools = _pools(state)
    if pools or {"models", "backends"} <= state.keys():
        state["pools"] = {name: {} for name in pools}
    if reader.problems:
        raise BadFile(reader.problems)
    return Wanted(state, reader.places, reader.secrets)


def _row(reader: _Reader, entry: Entry, place: str) -> tuple[str, dict[str, Any]]:
    fields = {name: value for name in entry.model_fields_set if (value := getattr(entry, name)) is not None}
    fields.update({name: long(fields[name]) for name, long in _LONG_FORMS.items() if name in fields})
    fields.update({name: None for name in _NULLABLE if _is_null(entry, name)})
    if fields.get("suspended") and fields.get("paused"):
        reader.problems.append(f"{place}.paused: A tenant is paused or suspended, not both. Leave one out.")
    if isinstance(entry, BackendEntry):
        return _backend(reader, fields, place)
    if isinstance(entry, TokenEntry):
        return _token(reader, fields, place)
    name = fields.pop("slug", None) or fields.pop("name", None) or f"{fields.pop('pool')}"
    return name, fields


def _quotas(entries: Quotas) -> dict[str, Written]:
    return {kind: _quota(kind, entry) for kind, entry in entries.items()}


def _quota(kind: str, entry: QuotaEntry) -> Written:
    chosen = "when_exhausted" in entry.model_fields_set
    if not chosen or (kind in MINUTE_KINDS and entry.when_exhausted == WAIT):
        return entry.limit
    return entry.model_dump()


def _model_quotas(models: Mapping[str, Quotas]) -> dict[str, dict[str, Written]]:
    return {model: quotas for model, entries in models.items() if (quotas := _quotas(entries))}


def _prices(entry: PricesEntry) -> dict[str, int]:
    return {kind: price for kind, price in entry.model_dump().items() if price}


def _boost(entry: BoostEntry) -> dict[str, Any]:
    return {"factor": entry.factor, "until": entry.until.astimezone(UTC).isoformat()}


_LONG_FORMS: dict[str, Callable[[Any], Any]] = {
    "boost": _boost,
    "quotas": _quotas,
    "model_quotas": _model_quotas,
    "prices": _prices,
}


def _is_null(entry: Entry, name: str) -> bool:
    """Whether a field that may be empty is written as empty."""
    return name in entry.model_fields_set and getattr(entry, name) is None


def _backend(reader: _Reader, fields: dict[str, Any], place: str) -> tuple[str, dict[str, Any]]:
    fields["url"] = fields["url"].rstrip("/")
    if "models" in fields:
        fields["models"] = sorted(set(fields["models"]))
    if variable := fields.pop("api_key_env", None):
        fields["api_key"] = reader.variable(variable, f"{place}.api_key_env")
    if path := fields.pop("ca_file", None):
        fields["ca_pem"] = reader.file(path, f"{place}.ca_file")
    return fields.pop("name"), fields


def _token(reader: _Reader, fields: dict[str, Any], place: str) -> tuple[str, dict[str, Any]]:
    name = f"{fields.pop('tenant')}/{fields.pop('name')}"
    if variable := fields.pop("secret_env", None):
        secret = reader.variable(variable, f"{place}.secret_env")
        if secret and not (tokens.well_formed(secret) and tokens.prefix_of(secret) == tokens.INFERENCE):
            reader.problems.append(
                f"{place}.secret_env: {variable} holds no API token in the form fl_…. "
                "`manage.py token new` prints one."
            )
        fields["digest"] = tokens.digest(secret).hex()
        reader.secrets[name] = secret
    if names := fields.get("models"):
        fields["models"] = sorted(set(names))
    return name, fields


def _pools(state: Mapping[str, Rows]) -> list[str]:
    """Pools need no section of their own: naming one is enough."""
    named: Iterable[str] = (
        *(row["pool"] for section in ("models", "backends") for row in state.get(section, {}).values()),
        *state.get("policies", {}),
    )
    return list(dict.fromkeys(named))
