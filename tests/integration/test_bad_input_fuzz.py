"""Bodies that hypothesis makes up, for every path: never a 5xx, and an error always has its shape."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.endpoints import ENDPOINTS
from tests.fakes.bad_input import GOOD, assert_nothing_is_held, connect, raw, read_answer, strict_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 20  # of hypothesis, for each way of making bodies up
PER_ROUND = 60  # damaged bodies
PATHS = st.sampled_from(sorted(ENDPOINTS))
MEMBERS = (
    "model messages prompt input stream stream_options max_tokens max_completion_tokens n best_of logprobs "
    "top_logprobs user service_tier priority tools x"
)
NAMES = st.sampled_from(MEMBERS.split())
NUMBERS = st.integers() | st.floats() | st.sampled_from((0, -1, 2**31, 2**63, 2**64, 10**40, 1e308, -0.0))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | NAMES, inner, max_size=4)
    ),
    max_leaves=12,
)
ALSO = ("prompt", "input", "query", "documents", "text_1", "text_2", "tokens")
GOOD_FOR_ALL = {**GOOD, "max_tokens": 16, **{name: ["hello"] for name in ALSO}, "query": "hello"}
TRIED: Counter[str] = Counter()  # answers by status and code
TEXT = json.dumps(GOOD_FOR_ALL).encode()
SOUND = (
    b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nsound\r\n--xyz--\r\n'
) % GOOD["model"].encode()


@st.composite
def almost_good(draw) -> bytes:
    """A good body with some members that are not."""
    return json.dumps(
        {**GOOD_FOR_ALL, **draw(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4))}
    ).encode()


def damaged(rng: random.Random, body: bytes = TEXT) -> bytes:
    """A good body with a few bytes cut out and others put in."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(body))
        put = rng.choice(
            (
                b"",
                b"{",
                b"]",
                b'"',
                b"\\",
                b"\\u",
                b"9" * 40,
                b"\r\n",
                b"--xyz",
                rng.randbytes(rng.randint(1, 6)),
            )
        )
        body = body[:start] + put + body[start + rng.randint(0, 6) :]
    return body


def badly_packed(rng: random.Random) -> bytes:
    """A gzip of a body with a byte turned."""
    packed = bytearray(gzip.compress(TEXT, mtime=0))
    packed[rng.randrange(len(packed))] ^= rng.randint(0, 255)
    return bytes(packed)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served():
    """The gateway of all rounds."""
    async with strict_gateway() as served:
        yield served
        await assert_nothing_is_held(served)
    print(f"\n{TRIED.total():,} made-up bodies:", dict(TRIED.most_common()))


async def try_all(served, path: str, bodies: list[bytes], *headers: bytes) -> None:
    reader, writer = await connect(served)
    try:
        for body in bodies:
            writer.write(raw(f"POST {path} HTTP/1.1".encode(), *headers, body=body))
            answer = await read_answer(reader)
            code = "" if answer.status == 200 else answer.error["code"]
            TRIED[f"{answer.status} {code}".strip()] += 1
            assert answer.status < 500, (path, body, answer)
    finally:
        writer.close()


@settings(max_examples=ROUNDS)
@given(path=PATHS, tried=st.lists(almost_good(), min_size=5, max_size=20))
async def test_members_of_every_kind_and_size_are_served_or_refused(served, path, tried) -> None:
    await try_all(served, path, tried)


@settings(max_examples=ROUNDS)
@given(path=PATHS, seed=st.integers(0, 2**32))
async def test_damaged_json_is_served_or_refused(served, path, seed) -> None:
    rng = random.Random(seed)
    await try_all(served, path, [damaged(rng) for _ in range(PER_ROUND)])


@settings(max_examples=ROUNDS)
@given(seed=st.integers(0, 2**32))
async def test_damaged_forms_are_served_or_refused(served, seed) -> None:
    rng = random.Random(seed)
    tried = [damaged(rng, SOUND) for _ in range(PER_ROUND)]
    await try_all(
        served, "/v1/audio/transcriptions", tried, b"content-type: multipart/form-data; boundary=xyz"
    )


@settings(max_examples=ROUNDS)
@given(path=PATHS, seed=st.integers(0, 2**32))
async def test_damaged_gzip_is_served_or_refused(served, path, seed) -> None:
    rng = random.Random(seed)
    tried = [badly_packed(rng) for _ in range(PER_ROUND)]
    await try_all(served, path, tried, b"content-encoding: gzip")
