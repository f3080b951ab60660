"""Charts as numbers for inline SVG: drawn on the server, so they need no script and no style."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scheduling.plots import GAP, Box, Point, Scale, round_up, thin, usual_distance

WIDTH, HEIGHT = 720, 150
BOX = Box(WIDTH, HEIGHT, left=34, right=8, top=8, bottom=20)


class Reading(Protocol):
    """One point of a backend's history."""

    at: datetime
    running: int | None
    waiting: int | None
    window: int
    cap: int
    reason: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A backend's limits and signals over time. Paths are SVG path data."""

    cap: str
    window: str
    waiting: str
    running: str
    levels: tuple[tuple[float, int], ...]  # y, value
    times: tuple[tuple[float, str], ...]  # x, label
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a limit, for the chart's table."""

    at: datetime
    window: int
    cap: int
    reason: str


def limits(readings: Sequence[Reading]) -> Chart | None:
    """The chart of a backend's history, oldest reading first. None for fewer than two points."""
    if len(readings) < 2:
        return None
    shown = thin(readings)
    scale = _scale(shown)
    top = int(scale.highest)
    return Chart(
        cap=scale.steps(_points(shown, lambda r: r.cap)),
        window=scale.steps(_points(shown, lambda r: r.window)),
        waiting=scale.steps(_points(shown, lambda r: r.waiting)),
        running=scale.area(_points(shown, lambda r: r.running)),
        levels=tuple((scale.y(value), value) for value in sorted({0, top // 2, top})),
        times=tuple(
            (scale.x(r.at.timestamp()), f"{r.at:%H:%M:%S}")
            for r in (shown[0], shown[len(shown) // 2], shown[-1])
        ),
    )


def moves(readings: Sequence[Reading], most: int = 20) -> list[Move]:
    """When a limit changed, newest first, with the reason."""
    found: list[Move] = []
    before: Reading | None = None
    for reading in readings:
        if before is None or (reading.window, reading.cap) != (before.window, before.cap):
            found.append(Move(reading.at, reading.window, reading.cap, reading.reason))
        before = reading
    return found[::-1][:most]


def _points(readings: Sequence[Reading], value: Callable[[Reading], int | None]) -> list[Point]:
    return [(reading.at.timestamp(), value(reading)) for reading in readings]


def _scale(readings: Sequence[Reading]) -> Scale:
    times = [reading.at.timestamp() for reading in readings]
    most = max(max(r.cap, r.window, r.running or 0, r.waiting or 0) for r in readings)
    distance_s = max(usual_distance(times), 1.0)
    last = max(times[-1], times[0] + 1.0)
    return Scale(BOX, times[0], last, max(round_up(most), 2), distance_s * GAP)
