"""The KV memory of an engine: blocks, and prompt blocks that requests share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence as Hashes


class Held:
    """What one sequence has of the memory: ``blocks``, of which others may use those under ``shared`` hashes.

    ``computed`` tokens are in it; the first ``published`` hashes of the
    prompt were offered for sharing, or came from there.
    """

    __slots__ = ("blocks", "computed", "published", "shared")

    def __init__(self) -> None:
        self.blocks = 0
        self.computed = 0
        self.shared: list[int] = []
        self.published = 0


class KvMemory:
    """Counts blocks in use, and keeps finished prompt blocks until room is needed.

    A block somebody holds is *used*. A hashed block nobody holds is *idle*:
    it counts as free, serves the next request with the same beginning, and
    the one idle longest is forgotten first. So ``usage`` is vLLM's
    ``kv_cache_usage_perc``: 1 - free / total. A hash stands for
    ``hash_blocks`` blocks at once.
    """

    def __init__(self, total_blocks: int, block_size: int, hash_blocks: int = 1) -> None:
        self.total = total_blocks
        self.used = 0
        self._block_size = block_size
        self._hash_blocks = hash_blocks
        self._hash_tokens = hash_blocks * block_size
        self._holders: dict[int, int] = {}  # hash of used blocks -> how many hold them
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def usage(self) -> float:
        """Used share of all blocks, 0 to 1."""
        return self.used / self.total

    def blocks_of(self, tokens: int) -> int:
        """Blocks that so many tokens fill or begin."""
        return -(-tokens // self._block_size)

    def take(self, blocks: int) -> bool:
        """Use this many more blocks; False, and nothing taken, when they do not fit."""
        if self.used + blocks > self.total:
            return False
        self.used += blocks
        while self._idle and self.used + len(self._idle) * self._hash_blocks > self.total:
            self._idle.popitem(last=False)
        return True

    def grow(self, held: Held, tokens: int) -> bool:
        """Take the blocks that ``tokens`` more need; False, and nothing taken, when they do not fit."""
        missing = self.blocks_of(held.computed + tokens) - held.blocks
        if missing > 0:
            if not self.take(missing):
                return False
            held.blocks += missing
        return True

    def share(self, held: Held, hashes: Hashes[int], target: int) -> None:
        """Give it the prompt blocks that are in memory; one token of ``target`` is always left to compute."""
        found = self._match(hashes[: (target - 1) // self._hash_tokens])
        held.shared = list(hashes[:found])
        for block in held.shared:
            if block in self._idle:
                del self._idle[block]
                self.used += self._hash_blocks
            self._holders[block] = self._holders.get(block, 0) + 1
        held.blocks = found * self._hash_blocks
        held.published = found
        held.computed = found * self._hash_tokens

    def publish(self, held: Held, hashes: Hashes[int]) -> None:
        """Offer the prompt blocks that are computed by now to later requests, but for those in memory."""
        full = min(held.computed // self._hash_tokens, len(hashes))
        for block in hashes[held.published : full]:
            if block not in self._holders and block not in self._idle:
                self._holders[block] = 1
                held.shared.append(block)
        held.published = full

    def forget(self, held: Held) -> None:
        """Take back all that it has: what was computed is lost, but shared blocks stay as idle ones."""
        self.used -= held.blocks
        if held.shared:
            self._share_no_more(held)
        held.blocks = held.published = held.computed = 0

    def _share_no_more(self, held: Held) -> None:
        for block in reversed(held.shared):  # the tail of a prompt is the least likely to be shared
            self._holders[block] -= 1
            if self._holders[block]:
                self.used += self._hash_blocks  # somebody else's, still
            else:
                del self._holders[block]
                self._idle[block] = None
        held.shared = []

    def _match(self, hashes: Hashes[int]) -> int:
        """How many leading ones are in memory."""
        for count, block in enumerate(hashes):
            if block not in self._holders and block not in self._idle:
                return count
        return len(hashes)
