"""Geometry of charts that are drawn on the server: numbers to places and path data, no colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, inf, log10
from typing import TypeVar

T = TypeVar("T")
Point = tuple[float, float | None]  # None: the value is not known there

MOST_POINTS = 600  # more cannot be told apart at a chart's width
GAP = 3.0  # a silence this many times the usual distance is a gap, never a line


@dataclass(frozen=True, slots=True)
class Box:
    """A chart's size, and the room at its edges for figures."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to places: x from ``first`` to ``last``, evenly or by its logarithm; y from 0 to ``highest``.

    A step to the next point of more than ``gap`` is left out of lines.
    """

    box: Box
    first: float
    last: float
    highest: float
    gap: float = inf
    log_x: bool = False

    def x(self, value: float) -> float:
        """Where on the paper, from the left."""
        box = self.box
        if self.log_x:
            part = log10(value / self.first) / log10(self.last / self.first)
        else:
            part = (value - self.first) / (self.last - self.first)
        return round(box.left + part * (box.width - box.left - box.right), 1)

    def y(self, value: float) -> float:
        """Where on the paper, from the top."""
        box = self.box
        return round(box.height - box.bottom - value / self.highest * (box.height - box.top - box.bottom), 1)

    def line(self, points: Sequence[Point]) -> str:
        """Path data from point to point; unknown values are gaps."""
        return " ".join(
            "M" + " L".join(f"{self.x(at)} {self.y(value)}" for at, value in run)
            for run in self._runs(points)
        )

    def steps(self, points: Sequence[Point]) -> str:
        """Path data that holds each value until the next point; unknown values are gaps."""
        return " ".join(self._step_path(run) for run in self._runs(points))

    def area(self, points: Sequence[Point]) -> str:
        """The same, closed down to zero."""
        return " ".join(
            f"{self._step_path(run)} V{self.y(0)} H{self.x(run[0][0])} Z" for run in self._runs(points)
        )

    def _step_path(self, run: Sequence[tuple[float, float]]) -> str:
        first = f"M{self.x(run[0][0])} {self.y(run[0][1])}"
        return " ".join([first, *(f"H{self.x(at)} V{self.y(value)}" for at, value in run[1:])])

    def _runs(self, points: Sequence[Point]) -> Iterator[list[tuple[float, float]]]:
        run: list[tuple[float, float]] = []
        for at, value in points:
            if run and (value is None or at - run[-1][0] > self.gap):
                yield run
                run = []
            if value is not None:
                run.append((at, value))
        if run:
            yield run


def thin(points: Sequence[T]) -> list[T]:
    """At most ``MOST_POINTS`` of them or so, the last one too."""
    step = -(-len(points) // MOST_POINTS)
    return [*points[:-1:step], points[-1]]


def usual_distance(times: Sequence[float]) -> float:
    """The median of the distances between neighbours."""
    distances = sorted(b - a for a, b in pairwise(times))
    return distances[len(distances) // 2]


def round_up(most: float) -> float:
    """The next round number (2, 4, 6, 8 or 10 times a power of ten), for the top of an axis."""
    size = 10.0 ** floor(log10(most)) if most > 0 else 1.0
    return next(step * size for step in (1, 2, 4, 6, 8, 10) if most <= step * size)


def round_steps(first: float, last: float, count: int) -> list[float]:
    """About ``count`` round numbers from ``first`` to ``last``, evenly apart."""
    rough = (last - first) / count
    size = 10.0 ** floor(log10(rough))
    step = next(each * size for each in (1, 2, 2.5, 5, 10) if rough <= each * size)
    begin = -(-first // step)
    return [round((begin + n) * step, 10) for n in range(int((last - begin * step) / step + 1e-9) + 1)]


def powers_of_ten(first: float, last: float) -> list[float]:
    """Those between two numbers, for an axis by logarithm."""
    return [10.0**n for n in range(floor(log10(first)), floor(log10(last)) + 2) if first <= 10.0**n <= last]
