"""Compressed bodies, inflated in slices."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import Encoded
from gateway.inflate import SLICE_BYTES, Inflater
from gateway.input_errors import BadlyEncoded

PACKERS = {
    b"gzip": gzip.compress,
    b" X-GZIP ": lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]),
    b"deflate": zlib.compress,
    b"Deflate": lambda data: zlib.compress(data)[2:-4],
}


def inflated(coding: bytes, packed: bytes, cuts: list[int]) -> bytes:
    inflater = Inflater.of(coding)
    assert inflater is not None
    parts = []
    for start, end in zip([0, *cuts], [*cuts, len(packed)], strict=True):
        for part in inflater.feed(packed[start:end]):
            assert 0 < len(part) <= SLICE_BYTES
            parts.append(part)
    inflater.close()
    return b"".join(parts)


@given(
    coding=st.sampled_from(sorted(PACKERS)),
    data=st.binary(min_size=8, max_size=200) | st.builds(bytes, st.integers(SLICE_BYTES, 3 * SLICE_BYTES)),
    places=st.lists(st.floats(0, 1), max_size=4),
)
def test_what_was_packed_comes_back_however_it_arrives(coding, data, places) -> None:
    packed = PACKERS[coding](data)
    cuts = sorted(int(place * len(packed)) for place in places)

    assert inflated(coding, packed, cuts) == data


@given(coding=st.sampled_from(sorted(PACKERS)), kept=st.floats(0, 0.99))
def test_what_is_not_whole_is_refused(coding, kept) -> None:
    body = b"a body that is long enough to be cut"
    packed = PACKERS[coding](body)
    cut = int(kept * len(packed))
    assume(cut != len(gzip.compress(body[:7])))  # a gzip's first member is whole by itself

    with pytest.raises(BadlyEncoded):
        inflated(coding, packed[:cut], [])


@pytest.mark.parametrize("coding", [b"identity", b"", b" Identity "])
def test_what_is_not_packed_needs_no_inflater(coding) -> None:
    assert Inflater.of(coding) is None


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"\xff"])
def test_another_coding_is_refused(coding) -> None:
    with pytest.raises(Encoded):
        Inflater.of(coding)
