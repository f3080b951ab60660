"""Which beginnings of prompts a backend has seen lately, and so may have in its cache."""

from __future__ import annotations

from collections import OrderedDict

MOST_KNOWN = 8192  # per backend: at the usual 16 to 64 tokens a step, more than an engine's cache holds


class KnownPrefixes:
    """A bounded memory of hashes; the least recently used is forgotten first.

    It guesses what the engine keeps. A wrong guess costs a slower first
    token and nothing else: who may go where is decided without it.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[int, None] = OrderedDict()

    def learn(self, prefixes: tuple[int, ...]) -> None:
        """A prompt with these beginnings, shortest first, goes in. O(their number)."""
        known = self._known
        for prefix in reversed(prefixes):  # the shortest last: it serves most prompts, and stays longest
            known[prefix] = None
            known.move_to_end(prefix)
        while len(known) > MOST_KNOWN:
            known.popitem(last=False)

    def longest(self, prefixes: tuple[int, ...]) -> int:
        """How many of these beginnings, shortest first, the longest known one stands for; 0 for none."""
        for length in range(len(prefixes), 0, -1):
            if prefixes[length - 1] in self._known:
                return length
        return 0

    def forget(self) -> None:
        """The engine began anew."""
        self._known.clear()
