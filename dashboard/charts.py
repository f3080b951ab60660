"""Charts as numbers for inline SVG: drawn on the server, so they need no script and no style."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Protocol

WIDTH, HEIGHT = 720, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 8, 20  # room for the figures at the axes
MOST_POINTS = 600  # more cannot be told apart at this width
GAP = 3.0  # a silence this many times the usual distance is a gap, never a line


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
    points = _thin(readings)
    begin, end = points[0].at.timestamp(), points[-1].at.timestamp()
    top = _nice(max(max(r.cap, r.window, r.running or 0, r.waiting or 0) for r in points))
    scale = _Scale(begin, max(end - begin, 1.0), top, _usual_distance(points) * GAP)
    return Chart(
        cap=scale.steps(points, lambda r: r.cap),
        window=scale.steps(points, lambda r: r.window),
        waiting=scale.steps(points, lambda r: r.waiting),
        running=scale.area(points, lambda r: r.running),
        levels=tuple((scale.y(value), value) for value in sorted({0, top // 2, top})),
        times=tuple(
            (scale.x(r.at), f"{r.at:%H:%M:%S}") for r in (points[0], points[len(points) // 2], points[-1])
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


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: float
    span_s: float
    top: int
    gap_s: float

    def x(self, at: datetime) -> float:
        return round(LEFT + (at.timestamp() - self.begin) / self.span_s * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM), 1)

    def steps(self, points: Sequence[Reading], value: Callable[[Reading], int | None]) -> str:
        """A line that holds each value until the next reading; unknown values are gaps."""
        return " ".join(self._step_path(run, value) for run in self._runs(points, value))

    def area(self, points: Sequence[Reading], value: Callable[[Reading], int | None]) -> str:
        """The same, closed down to zero."""
        floor = self.y(0)
        return " ".join(
            f"{self._step_path(run, value)} V{floor} H{self.x(run[0].at)} Z"
            for run in self._runs(points, value)
        )

    def _step_path(self, run: Sequence[Reading], value: Callable[[Reading], int | None]) -> str:
        first = f"M{self.x(run[0].at)} {self.y(value(run[0]) or 0)}"
        return " ".join([first, *(f"H{self.x(r.at)} V{self.y(value(r) or 0)}" for r in run[1:])])

    def _runs(self, points: Sequence[Reading], value: Callable[[Reading], int | None]) -> list[list[Reading]]:
        runs: list[list[Reading]] = []
        last: Reading | None = None
        for point in points:
            if value(point) is None:
                last = None
                continue
            if last is None or (point.at - last.at).total_seconds() > self.gap_s:
                runs.append([])
            runs[-1].append(point)
            last = point
        return runs


def _thin(readings: Sequence[Reading]) -> list[Reading]:
    step = -(-len(readings) // MOST_POINTS)
    return [*readings[:-1:step], readings[-1]]


def _usual_distance(points: Sequence[Reading]) -> float:
    distances = sorted((b.at - a.at).total_seconds() for a, b in pairwise(points))
    return max(distances[len(distances) // 2], 1.0)


def _nice(most: int) -> int:
    """The next round number, for the top of the axis."""
    size = 1
    while True:
        for step in (2, 4, 6, 8, 10):
            if most <= step * size:
                return step * size
        size *= 10
