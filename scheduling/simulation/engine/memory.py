"""The KV memory of an engine: blocks, and prompt blocks that requests share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence as Hashes


class KvMemory:
    """Counts blocks in use, and keeps finished prompt blocks until room is needed.

    A block somebody holds is *used*. A hashed block nobody holds is *idle*:
    it counts as free, serves the next request with the same beginning, and
    the one idle longest is forgotten first. So ``usage`` is vLLM's
    ``kv_cache_usage_perc``: 1 - free / total.
    """

    def __init__(self, total_blocks: int) -> None:
        self.total = total_blocks
        self.used = 0
        self._holders: dict[int, int] = {}  # hash of a used block -> how many hold it
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def usage(self) -> float:
        """Used share of all blocks, 0 to 1."""
        return self.used / self.total

    def take(self, blocks: int) -> bool:
        """Use this many more blocks; False, and nothing taken, when they do not fit."""
        if self.used + blocks > self.total:
            return False
        self.used += blocks
        while self.used + len(self._idle) > self.total:
            self._idle.popitem(last=False)
        return True

    def match(self, hashes: Hashes[int]) -> int:
        """How many leading blocks of this prompt are in memory."""
        for count, block in enumerate(hashes):
            if block not in self._holders and block not in self._idle:
                return count
        return len(hashes)

    def hold(self, hashes: Hashes[int]) -> None:
        """Share blocks that ``match`` found."""
        for block in hashes:
            if block in self._idle:
                del self._idle[block]
                self.used += 1
            self._holders[block] = self._holders.get(block, 0) + 1

    def publish(self, block: int) -> bool:
        """Offer a used block for sharing; False when the same block is in memory already."""
        if block in self._holders or block in self._idle:
            return False
        self._holders[block] = 1
        return True

    def give_back(self, private_blocks: int, shared: Hashes[int]) -> None:
        """Stop using blocks; shared ones that nobody else holds stay as idle ones."""
        self.used -= private_blocks
        for block in reversed(shared):  # the tail of a prompt is the least likely to be shared
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
                self._idle[block] = None
                self.used -= 1
