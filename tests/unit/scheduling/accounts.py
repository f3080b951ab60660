"""Accounts on one level, without a machine around them: who waits, who is charged what."""

from __future__ import annotations

from scheduling.core.entry import Entry, Lane
from scheduling.core.levels import Level
from scheduling.core.share import Share
from scheduling.core.ticket import Ticket

LANE = Lane(("llama", frozenset()))
OTHER = Lane(("qwen", frozenset()))


def entered(one: Ticket, cost: int, place: int, lane: Lane = LANE) -> Entry:
    """The entry of a ticket that has to wait."""
    entry = Entry(one)
    entry.cost, entry.place, entry.lane = cost, place, lane
    entry.queue()
    return entry


def opened(level: Level, name: str, weight: int = 1, tickets: int = 1) -> Share:
    """An account that holds tickets, none of which waits."""
    share = level.add(name, weight)
    for _ in range(tickets):
        hold(level, share)
    return share


def hold(level: Level, share: Share) -> None:
    """One more ticket, counted as the hierarchy counts it."""
    level.idle -= not share.held
    share.held += 1


def release(level: Level, share: Share) -> None:
    """One ticket less."""
    share.held -= 1
    if not share.held:
        level.rest(share)


def waiting(level: Level, name: str, weight: int = 1, tickets: int = 9, lane: Lane = LANE) -> Share:
    """An account all whose tickets wait in one lane."""
    share = opened(level, name, weight, tickets)
    level.enter(share, lane)
    return share


def away_and_back(level: Level, share: Share, *, retry: bool = False) -> None:
    """The name stops to wait and begins again."""
    level.leave(share, LANE)
    level.enter(share, LANE, -1 if retry else 1)


def turns(level: Level, price: int, times: int) -> list[str]:
    """Who is served when everybody who waits goes on waiting."""
    order = []
    for _ in range(times):
        share = level.first(LANE)
        level.charge(share, price)
        order.append(share.name)
    return order
