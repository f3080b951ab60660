"""``Idempotency-Key``: one key, one run, however often its client asks.

Answers are kept in this process's memory only, bounded and for a day, and are
never written anywhere (docs/decisions/0020-idempotent-answers-stay-in-memory.md).
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic

from gateway.client import Client
from gateway.engine_errors import EngineRefused
from gateway.errors import Invalid
from gateway.headers import ORIGINAL, Headers
from gateway.own.errors import IdempotencyBusy, IdempotencyMismatch, IdempotencySpent

KEY = re.compile(rb"[\x21-\x7e][\x20-\x7e]{0,254}")
KEPT_HEADERS = frozenset({b"content-type", b"x-priority-class", b"x-fairlane-model"})
LONG_BYTES = 1024 * 1024  # of a body whose digest takes so long that a thread takes it, beside the event loop
ENTRY_BYTES = 1024  # about what an entry takes beside its answer's body

Slot = tuple[int, bytes]  # API token, key


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request that came with a key. Keys of two API tokens never meet."""

    tenant: str
    token_id: int
    key: bytes
    path: str
    body: bytes = field(repr=False)

    def fingerprint(self) -> bytes:
        """What must be the same when the key comes again."""
        digest = sha256(self.path.encode() + b"\0")  # of those that are safe the fastest by far
        digest.update(self.body)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response, and our id of the request that it answered."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)
    request_id: bytes


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: bytes
    until_s: float
    answer: Answer | None  # None: it was a stream, or too long to be sent at once (gateway/answer.py)

    @property
    def size_bytes(self) -> int:
        return ENTRY_BYTES + (len(self.answer.body) if self.answer else 0)


@dataclass(slots=True)
class _Sum:
    entries: int = 0
    size_bytes: int = 0

    def add(self, kept: _Kept, sign: int) -> None:
        self.entries += sign
        self.size_bytes += sign * kept.size_bytes


class _Shelf:
    """What is kept for one tenant, the oldest first."""

    __slots__ = ("_total", "kept", "own")

    def __init__(self, total: _Sum) -> None:
        self.kept: OrderedDict[Slot, _Kept] = OrderedDict()
        self.own = _Sum()
        self._total = total

    def put(self, slot: Slot, kept: _Kept) -> None:
        self.kept[slot] = kept
        self.own.add(kept, 1)
        self._total.add(kept, 1)

    def drop_oldest(self) -> None:
        _, kept = self.kept.popitem(last=False)
        self.own.add(kept, -1)
        self._total.add(kept, -1)

    def expire(self, now_s: float) -> None:
        while self.kept and next(iter(self.kept.values())).until_s <= now_s:
            self.drop_oldest()


class Idempotency:
    """Remembers the keys that were answered for ``keep_s``.

    What is above the bounds goes earlier: the oldest key of the tenant that
    has most, so that no tenant can make another's be forgotten by sending many.
    """

    def __init__(
        self, keep_s: float, most_entries: int, most_bytes: int, now_s: Callable[[], float] = monotonic
    ) -> None:
        self._keep_s = keep_s
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._now_s = now_s
        self._running: dict[Slot, bytes] = {}
        self._shelves: dict[str, _Shelf] = {}
        self.total = _Sum()

    async def once(self, keyed: Keyed, client: Client, run: Callable[[], Awaitable[None]]) -> None:
        """Run it, or say again what came of it.

        Kept are whole answers and an engine's refusals of the request itself.
        Whatever else ends a run frees the key. Raises Invalid for a bad key,
        IdempotencyMismatch, IdempotencyBusy or IdempotencySpent.
        """
        if not KEY.fullmatch(keyed.key):
            raise Invalid(
                "Idempotency-Key must be 1 to 255 printable ASCII characters.", param="Idempotency-Key"
            )
        slot, fingerprint = (keyed.token_id, keyed.key), await _fingerprint(keyed)
        if (kept := self._find(keyed.tenant, slot)) is not None:
            await _say_again(kept, fingerprint, client)
            return
        if (running := self._running.get(slot)) is not None:
            raise IdempotencyBusy if running == fingerprint else IdempotencyMismatch
        self._running[slot] = fingerprint
        heard: list[Answer] = []
        client.keep = lambda status, headers, body: heard.append(_answer(status, headers, body, client))
        try:
            await run()
        except EngineRefused as refused:
            headers, body = client.dialect.refusal(refused, client.request_id)
            self._keep(keyed, fingerprint, _answer(client.dialect.status(refused), headers, body, client))
            raise
        except BaseException:
            if heard:  # the client left while it was being told
                self._keep(keyed, fingerprint, heard[0])
            raise
        else:
            self._keep(keyed, fingerprint, heard[0] if heard else None)
        finally:
            client.keep = None
            del self._running[slot]

    def tidy(self) -> None:
        """Forget what has been kept for long enough."""
        now_s = self._now_s()
        for shelf in self._shelves.values():
            shelf.expire(now_s)
        self._shelves = {tenant: shelf for tenant, shelf in self._shelves.items() if shelf.kept}

    def _find(self, tenant: str, slot: Slot) -> _Kept | None:
        shelf = self._shelves.get(tenant)
        if shelf is None:
            return None
        shelf.expire(self._now_s())
        return shelf.kept.get(slot)

    def _keep(self, keyed: Keyed, fingerprint: bytes, answer: Answer | None) -> None:
        shelf = self._shelves.get(keyed.tenant)
        if shelf is None:
            shelf = self._shelves[keyed.tenant] = _Shelf(self.total)
        kept = _Kept(fingerprint, self._now_s() + self._keep_s, answer)
        shelf.put((keyed.token_id, keyed.key), kept)
        while self.total.entries > self._most_entries:
            max(self._shelves.values(), key=_entries).drop_oldest()
        while self.total.size_bytes > self._most_bytes:
            max(self._shelves.values(), key=_size_bytes).drop_oldest()


async def _fingerprint(keyed: Keyed) -> bytes:
    if len(keyed.body) < LONG_BYTES:
        return keyed.fingerprint()
    return await asyncio.to_thread(keyed.fingerprint)


def _entries(shelf: _Shelf) -> int:
    return shelf.own.entries


def _size_bytes(shelf: _Shelf) -> int:
    return shelf.own.size_bytes


async def _say_again(kept: _Kept, fingerprint: bytes, client: Client) -> None:
    if kept.fingerprint != fingerprint:
        raise IdempotencyMismatch
    answer = kept.answer
    if answer is None:
        raise IdempotencySpent
    told = [(b"idempotent-replayed", b"true"), (ORIGINAL, answer.request_id)]
    await client.whole(answer.status, [*answer.headers, *told], answer.body)


def _answer(status: int, headers: Headers, body: bytes, client: Client) -> Answer:
    """Without what was true of that moment only: ids, times, and what was left of quotas."""
    kept = [(name, value) for name, value in headers if name in KEPT_HEADERS]
    return Answer(status, kept, body, client.request_id.own.encode())
