"""Failures on demand: what a broken engine does, chosen by flag, header, model name or control call."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """Everything that can be made to go wrong. The number after the colon is in brackets."""

    HTTP_500 = "http_500"  # error before the first byte
    HTTP_429 = "http_429"  # the same with Retry-After [seconds, 1]
    HTTP_503 = "http_503"  # the same with Retry-After [seconds, 1]
    HTML_ERROR = "html_error"  # 502 and a web page, as a proxy would send
    STALL_FIRST = "stall_first"  # silence before the first byte [seconds, for ever]
    STALL_MID = "stall_mid"  # silence after some events [events, 3]
    RESET_MID = "reset_mid"  # TCP reset after some events [events, 3]
    CUT_MID = "cut_mid"  # connection closed inside the body after some events [events, 3]
    EOF_MID = "eof_mid"  # a clean end of the body without [DONE] after some events [events, 3]
    GARBAGE_EVENT = "garbage_event"  # an event that is not JSON after some events [events, 3]
    HUGE_EVENT = "huge_event"  # an event of 2 MB after some events [events, 3]
    WRONG_TYPE = "wrong_type"  # a good answer under a wrong content type
    DIE = "die"  # the engine is gone, at once or after some events [events, 0]
    METRICS_500 = "metrics_500"
    METRICS_FROZEN = "metrics_frozen"  # the page as it was, for ever
    METRICS_GARBAGE = "metrics_garbage"  # 200 and nonsense
    METRICS_EMPTY = "metrics_empty"  # 200 and no engine series, as with --disable-log-stats
    METRICS_NAN = "metrics_nan"  # 200 and every value NaN
    METRICS_SLOW = "metrics_slow"  # late [seconds, 5]

    @property
    def on_metrics(self) -> bool:
        """It strikes the metrics page, not requests."""
        return self.value.startswith("metrics_")

    @property
    def mid_stream(self) -> bool:
        """It strikes when a number of events has been sent."""
        return self in MID_STREAM


MID_STREAM = frozenset(
    {
        FaultKind.STALL_MID,
        FaultKind.RESET_MID,
        FaultKind.CUT_MID,
        FaultKind.EOF_MID,
        FaultKind.GARBAGE_EVENT,
        FaultKind.HUGE_EVENT,
    }
)
DEFAULT_EVENTS = 3
SPELLING = re.compile(r"(?P<kind>[a-z0-9_]+)(:(?P<arg>[0-9.]+))?(@(?P<rate>[0-9.]+))?(\*(?P<times>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure, how often, and how many times.

    ``arg`` is the number that its kind explains; ``rate`` the share of
    requests it strikes; ``times`` after how many it is spent.
    """

    kind: FaultKind
    arg: float | None = None
    rate: float = 1.0
    times: int | None = None

    @property
    def events(self) -> int:
        """After how many token events it strikes."""
        return DEFAULT_EVENTS if self.arg is None else int(self.arg)

    def __str__(self) -> str:
        text = self.kind.value
        text += "" if self.arg is None else f":{self.arg:g}"
        text += "" if self.rate == 1 else f"@{self.rate:g}"
        return text + ("" if self.times is None else f"*{self.times}")


def parse_fault(text: str) -> Fault:
    """Read ``kind[:number][@rate][*times]``, e.g. ``reset_mid:5@0.1`` or ``http_503:2*3``.

    Raises ValueError that names the mistake.
    """
    found = SPELLING.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"failure {text!r}: write kind[:number][@rate][*times], e.g. reset_mid:5@0.1")
    try:
        kind = FaultKind(found["kind"])
    except ValueError:
        raise ValueError(f"failure {text!r}: the kind is one of {', '.join(FaultKind)}") from None
    rate = 1.0 if found["rate"] is None else float(found["rate"])
    if not 0 <= rate <= 1:
        raise ValueError(f"failure {text!r}: the rate after @ is from 0 to 1")
    arg = None if found["arg"] is None else float(found["arg"])
    return Fault(kind, arg, rate, None if found["times"] is None else int(found["times"]))


class Faults:
    """The failures in force, with a random source of their own so that a seed repeats them."""

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chance for a simulation, no secret
        self._faults = list(faults)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Put these in force instead."""
        self._faults = list(faults)

    def active(self) -> tuple[Fault, ...]:
        """What is in force, with the times that are left."""
        return tuple(self._faults)

    def for_request(self) -> Fault | None:
        """What strikes this request: the first that the dice choose."""
        return self._draw(on_metrics=False)

    def for_metrics(self) -> Fault | None:
        """What strikes this reading of the metrics page."""
        return self._draw(on_metrics=True)

    def _draw(self, *, on_metrics: bool) -> Fault | None:
        for index, fault in enumerate(self._faults):
            if fault.kind.on_metrics is not on_metrics:
                continue
            if fault.rate < 1 and self._random.random() >= fault.rate:
                continue
            self._spend(index, fault)
            return fault
        return None

    def _spend(self, index: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times <= 1:
            del self._faults[index]
        else:
            self._faults[index] = Fault(fault.kind, fault.arg, fault.rate, fault.times - 1)
