"""Who got how much service when: the curves that fairness is measured on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise

from scheduling.simulation.record import Served

Interval = tuple[float, float]  # milliseconds, half open
MOST_COMPARED = 40  # tenants whose pairs are looked at: those with most service
AN_INSTANT_MS = 0.001  # over which an answer of one token is spread
CONVERGENCE_WINDOW_MS = 10_000
CONVERGED = 0.05  # parts of the whole: five percentage points


@dataclass(frozen=True, slots=True)
class Curve:
    """Cost tokens that a tenant got by each time: straight between its points.

    The service of a request is spread evenly from its first token to its
    last, as in the VTC artifact (``get_service_over_time``).
    """

    times_ms: Sequence[float]
    tokens: Sequence[float]

    def at(self, at_ms: float) -> float:
        """Service up to this time."""
        after = bisect_right(self.times_ms, at_ms)
        if after == 0:
            return 0.0
        if after == len(self.times_ms):
            return self.tokens[-1]
        begin_ms, end_ms = self.times_ms[after - 1], self.times_ms[after]
        low, high = self.tokens[after - 1], self.tokens[after]
        return low + (high - low) * (at_ms - begin_ms) / (end_ms - begin_ms)

    def within(self, from_ms: float, to_ms: float) -> float:
        """Service between two times."""
        return self.at(to_ms) - self.at(from_ms)

    def points_in(self, span: Interval) -> Sequence[float]:
        """The curve's own points inside, and both ends."""
        low, high = bisect_right(self.times_ms, span[0]), bisect_left(self.times_ms, span[1])
        return [span[0], *self.times_ms[low:high], span[1]]


def curves(served: Iterable[Served], groups: Callable[[str], str] = str) -> dict[str, Curve]:
    """Each tenant's curve, by name; or those of groups of tenants, by the group's."""
    by_name: dict[str, list[Served]] = defaultdict(list)
    for one in served:
        by_name[groups(one.arrival.tenant)].append(one)
    return {name: _curve(by_name[name]) for name in sorted(by_name)}


def _curve(served: Iterable[Served]) -> Curve:
    slopes: dict[float, float] = defaultdict(float)
    for one in served:
        begin_ms, end_ms = one.first_token_ms, one.ended_ms
        if begin_ms is None or end_ms is None:
            continue
        begin_ms = min(begin_ms, end_ms - AN_INSTANT_MS)
        rate = one.cost_tokens / (end_ms - begin_ms)
        slopes[begin_ms] += rate
        slopes[end_ms] -= rate
    times: list[float] = []
    tokens: list[float] = []
    total = slope = last_ms = 0.0
    for at_ms in sorted(slopes):
        total += slope * (at_ms - last_ms)
        times.append(at_ms)
        tokens.append(total)
        slope += slopes[at_ms]
        last_ms = at_ms
    return Curve(times or [0.0], tokens or [0.0])


def backlogs(served: Iterable[Served], end_ms: float) -> dict[str, list[Interval]]:
    """When each tenant had at least one request waiting in line."""
    changes: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for one in served:
        left_ms = one.left_line_ms
        until_ms = end_ms if left_ms is None else left_ms
        if until_ms > one.arrival.at_ms:
            changes[one.arrival.tenant] += [(one.arrival.at_ms, 1), (until_ms, -1)]
    return {tenant: _above_zero(sorted(each)) for tenant, each in sorted(changes.items())}


def _above_zero(changes: Sequence[tuple[float, int]]) -> list[Interval]:
    levels = accumulate(step for _, step in changes)
    spans: list[Interval] = []
    for ((begin_ms, _), level), ((end_ms, _), _) in pairwise(zip(changes, levels, strict=True)):
        if not level or begin_ms == end_ms:
            continue
        if spans and spans[-1][1] == begin_ms:
            spans[-1] = (spans[-1][0], end_ms)
        else:
            spans.append((begin_ms, end_ms))
    return spans


def both(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """When both are: the intersection of two sorted lists of spans."""
    found: list[Interval] = []
    i = j = 0
    while i < len(one) and j < len(other):
        begin_ms, end_ms = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if begin_ms < end_ms:
            found.append((begin_ms, end_ms))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found


def widest_gap(
    service: Mapping[str, Curve], weights: Mapping[str, int], backlogged: Mapping[str, Sequence[Interval]]
) -> tuple[float, tuple[str, str] | None]:
    """The most that two tenants' service per weight drifted apart while both waited, and who.

    Over all pairs f, g and all intervals in which both are backlogged
    throughout: max |dW_f / w_f - dW_g / w_g|, in cost tokens per weight.
    Beyond ``MOST_COMPARED`` tenants, only those with most service.
    """
    names = sorted(backlogged, key=lambda name: (-service[name].tokens[-1], name))[:MOST_COMPARED]
    widest: tuple[float, tuple[str, str] | None] = (0.0, None)
    for one, other in combinations(names, 2):
        for span in both(backlogged[one], backlogged[other]):
            gap = _drift((service[one], weights[one]), (service[other], weights[other]), span)
            if gap > widest[0]:
                widest = (gap, (one, other))
    return widest


def _drift(one: tuple[Curve, int], other: tuple[Curve, int], span: Interval) -> float:
    """The widest range of the difference within the span: it is straight between the points of both."""
    (mine, my_weight), (theirs, their_weight) = one, other
    points = {*mine.points_in(span), *theirs.points_in(span)}
    apart = [mine.at(at_ms) / my_weight - theirs.at(at_ms) / their_weight for at_ms in points]
    return max(apart) - min(apart)


def worst_jain(
    service: Mapping[str, Curve],
    weights: Mapping[str, int],
    backlogged: Mapping[str, Sequence[Interval]],
    window_ms: int = 30_000,
) -> float | None:
    """The least Jain index over service per weight in any window, among those who waited all through it.

    Windows begin at every whole second. None when no two tenants ever
    waited so long together.
    """
    spans = [
        (name, begin, end)
        for name, each in backlogged.items()
        for begin, end in each
        if end - begin >= window_ms
    ]
    if len(spans) < 2:
        return None
    first_s = int(min(begin for _, begin, _ in spans) / 1000)
    last_s = int((max(end for _, _, end in spans) - window_ms) / 1000)
    worst: float | None = None
    for at_ms in range(first_s * 1000, last_s * 1000 + 1, 1000):
        got = [
            service[name].within(at_ms, at_ms + window_ms) / weights[name]
            for name, begin, end in spans
            if begin <= at_ms and at_ms + window_ms <= end
        ]
        if len(got) > 1:
            index = jain(got)
            worst = index if worst is None else min(worst, index)
    return worst


def jain(values: Sequence[float]) -> float:
    """Jain's index: 1.0 when all are equal, 1/n when one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def convergence_s(
    service: Mapping[str, Curve],
    target: Mapping[str, float],
    changed_ms: float,
    end_ms: float,
    window_ms: int = CONVERGENCE_WINDOW_MS,
) -> float | None:
    """How long after a change of weights the shares were right: the first t with all within 5 points.

    Shares are those of the window that begins at t, looked at every 0.1 s;
    ``target`` is 0..1 by tenant. None when it never happened by ``end_ms``.
    """
    at_ms = changed_ms
    while at_ms + window_ms <= end_ms:
        got = {name: service[name].within(at_ms, at_ms + window_ms) for name in target}
        total = sum(got.values())
        if total and all(abs(got[name] / total - target[name]) <= CONVERGED for name in target):
            return (at_ms - changed_ms) / 1000
        at_ms += 100
    return None
