"""A compressed body, inflated a slice at a time, so that whoever reads it can stop in time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Self

from gateway.errors import Encoded
from gateway.input_errors import BadlyEncoded

SLICE_BYTES = 256 * 1024  # inflated at once: about a millisecond
GZIP = 16 + zlib.MAX_WBITS
RAW = -zlib.MAX_WBITS
ZLIB_METHOD = 8  # the low half of the first byte of what RFC 9110 calls deflate


class Inflater:
    """Inflates ``gzip`` and ``deflate``. Feed it what comes, and close it at the end."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._machine: zlib._Decompress | None = None

    @classmethod
    def of(cls, coding: bytes) -> Self | None:
        """The inflater for a Content-Encoding; None when nothing is to be inflated. Raises Encoded."""
        name = coding.strip().lower()
        if name in (b"identity", b""):
            return None
        if name in (b"gzip", b"x-gzip"):
            return cls(GZIP)
        if name == b"deflate":
            return cls(zlib.MAX_WBITS)
        raise Encoded

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What this part becomes, in slices. Raises BadlyEncoded."""
        pending = bool(packed)
        while pending:
            machine = self._machine or self._start(packed)
            try:
                part = machine.decompress(packed, SLICE_BYTES)
            except zlib.error:
                raise BadlyEncoded from None
            if part:
                yield part
            packed = machine.unconsumed_tail
            # All of the input may be taken in, and a part of the output still held back.
            pending = bool(packed) or (len(part) == SLICE_BYTES and not machine.eof)
            if machine.eof and machine.unused_data:  # gzip may have several members, one after another
                packed, pending = machine.unused_data, True
                self._machine = zlib.decompressobj(self._window_bits)

    def close(self) -> None:
        """The body has ended. Raises BadlyEncoded when something is missing."""
        if self._machine is None or not self._machine.eof:
            raise BadlyEncoded

    def _start(self, packed: bytes) -> zlib._Decompress:
        if self._window_bits == zlib.MAX_WBITS and packed[0] & 0x0F != ZLIB_METHOD:
            self._window_bits = RAW  # what some clients send under the name of deflate
        self._machine = zlib.decompressobj(self._window_bits)
        return self._machine
