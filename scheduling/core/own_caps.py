"""API tokens that may have only so many requests going at a time."""

from __future__ import annotations

from collections import OrderedDict

from scheduling.core.entry import Entry


class _Token:
    __slots__ = ("going", "limit", "waiting")

    limit: int  # as the latest ticket has it

    def __init__(self) -> None:
        self.going = 0  # in line or in flight
        self.waiting: OrderedDict[int, Entry] = OrderedDict()


class OwnCaps:
    """Lets as many tickets of an API token into line as it may have in flight, in order of arrival.

    Those that stand in line count, so the cap holds whatever is seated next,
    and each step costs O(1) however many wait outside.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, _Token] = {}

    def admit(self, entry: Entry) -> bool:
        """Whether the ticket may go on; if not, it waits until ``leave`` names it."""
        limit = entry.ticket.api_token_in_flight
        if limit is None:
            return True
        token = self._tokens.setdefault(entry.ticket.api_token, _Token())
        token.limit = limit
        if token.going >= limit:
            token.waiting[entry.place] = entry
            if entry.retry:
                token.waiting.move_to_end(entry.place, last=False)
            return False
        token.going += 1
        return True

    def leave(self, entry: Entry) -> list[Entry]:
        """A ticket that was let in has left; who may go on instead."""
        if entry.ticket.api_token_in_flight is None:
            return []
        token = self._tokens[entry.ticket.api_token]
        token.going -= 1
        admitted = []
        while token.waiting and token.going < token.limit:
            admitted.append(token.waiting.popitem(last=False)[1])
            token.going += 1
        if not token.going and not token.waiting:
            del self._tokens[entry.ticket.api_token]
        return admitted

    def give_up(self, entry: Entry) -> None:
        """A ticket that waited outside is gone."""
        token = self._tokens[entry.ticket.api_token]
        del token.waiting[entry.place]
        if not token.going and not token.waiting:
            del self._tokens[entry.ticket.api_token]
