"""Whether a batch can be asked at all: every line of its file is read once before the first request."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from gateway.batches import lines
from gateway.batches.files import LineTooLong
from gateway.batches.lines import Asked, BadLine
from gateway.batches.models import MODEL_CHARS

MOST_ERRORS = 100  # listed; a file with more is wrong as a whole


@dataclass(slots=True)
class Found:
    """What is in a file: its requests, the one model they name, or what is wrong."""

    total: int = 0
    models: set[str] = field(default_factory=set)
    errors: list[dict[str, object]] = field(default_factory=list)

    @property
    def model(self) -> str:
        """The model, when it is one."""
        return next(iter(self.models))[:MODEL_CHARS] if len(self.models) == 1 else ""

    def wrong(self, error: BadLine, line: int | None = None) -> None:
        """Note one fault."""
        told: dict[str, object] = {
            "code": error.code,
            "message": str(error),
            "param": error.param,
            "line": line,
        }
        self.errors.append(told)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a file is checked against."""

    endpoint: str
    models: Collection[str]
    most_requests: int
    most_line_bytes: int


def check(texts: Iterable[bytes], rules: Rules) -> Found:
    """Read all lines of a file; stop at a hundred faults."""
    found, seen = Found(), set[str]()
    number = 0
    try:
        for number, text in enumerate(texts, 1):
            _check_line(number, text, rules, found, seen)
            if len(found.errors) >= MOST_ERRORS:
                return found
            if found.total > rules.most_requests:
                many = f"A batch may have at most {rules.most_requests} requests. Make several batches of it."
                found.wrong(BadLine("too_many_requests", many))
                return found
    except LineTooLong:
        found.wrong(_too_long(rules), number + 1)
    if not found.total and not found.errors:
        found.wrong(BadLine("empty_file", "The file holds no request: put one JSON object in each line."))
    return found


def _check_line(number: int, text: bytes, rules: Rules, found: Found, seen: set[str]) -> None:
    text = lines.bare(text, number)
    if not text.strip():
        return
    found.total += 1
    try:
        asked = _asked(text, rules, seen)
    except BadLine as error:
        found.wrong(error, number)
        return
    seen.add(asked.custom_id)
    found.models.add(asked.model)


def _asked(text: bytes, rules: Rules, seen: Collection[str]) -> Asked:
    if len(text) > rules.most_line_bytes:
        raise _too_long(rules)
    asked = lines.read(text, rules.endpoint)
    if asked.model not in rules.models:
        unknown = f"There is no model {asked.model[:80]!r}. GET /v1/models lists them."
        raise BadLine("model_not_found", unknown, "body.model")
    if asked.custom_id in seen:
        twice = f"custom_id {asked.custom_id[:80]!r} is in an earlier line already; each needs its own."
        raise BadLine("duplicate_custom_id", twice, "custom_id")
    return asked


def _too_long(rules: Rules) -> BadLine:
    return BadLine("line_too_long", f"A line may have at most {rules.most_line_bytes} bytes.")
