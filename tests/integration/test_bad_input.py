"""Bytes that no client should send, to the product's server: a documented error each, and nothing is held."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from time import monotonic

import pytest
import pytest_asyncio

from gateway import tokens
from tests.fakes.bad_input import (
    AUTH,
    BODY_BYTES,
    CHAT,
    GOOD,
    assert_nothing_is_held,
    raw,
    say,
    strict_gateway,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERRORS_PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "errors.md"
AT_ONCE_S = 0.5  # generous for a busy machine: what is refused costs a few milliseconds
GZIP, DEFLATE = b"content-encoding: gzip", b"content-encoding: deflate"
DOCUMENT = json.dumps(GOOD).encode()
CHUNKS = b"transfer-encoding: chunked"
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (BODY_BYTES + 1, b"x" * (BODY_BYTES + 1))
BOMB = gzip.compress(b" " * 50_000_000)


def chat(**members) -> bytes:
    return json.dumps({**GOOD, **members}).encode()


def deep(levels: int) -> bytes:
    """A body with so many levels in a member that nobody reads."""
    inner = levels - 1
    return DOCUMENT[:-1] + b',"x":' + b"[" * inner + b"]" * inner + b"}"


def many(name: bytes, count: int) -> list[bytes]:
    return [b"x-%b-%d: 1" % (name, number) for number in range(count)]


def case(name: str, data: bytes, status: int, code: str):
    return pytest.param(data, status, code, id=name)


SOUND, FORM = b"POST /v1/audio/transcriptions HTTP/1.1", b"content-type: multipart/form-data; boundary=xyz"


def form(*parts: tuple[str, str]) -> bytes:
    """A form with a file and these fields."""
    fields = [f'name="{name}"\r\n\r\n{value}' for name, value in parts]
    said = [*fields, 'name="file"; filename="a.wav"\r\n\r\nsound']
    return (
        "".join(f"--xyz\r\nContent-Disposition: form-data; {one}\r\n" for one in said).encode()
        + b"--xyz--\r\n"
    )


REVOKED = tokens.generate().encode()
MODELS = b"GET /v1/models HTTP/1.1"
TWO_LENGTHS = b"content-length: %d" % len(DOCUMENT), b"content-length: %d" % (len(DOCUMENT) + 1)

BAD = [
    case("no token", raw(auth=None), 401, "invalid_api_key"),
    case("made-up token", raw(auth=b"authorization: Bearer fl_nope"), 401, "invalid_api_key"),
    case("unknown or revoked token", raw(auth=b"authorization: Bearer " + REVOKED), 401, "invalid_api_key"),
    case("another scheme", raw(auth=b"authorization: Basic YTpi"), 401, "invalid_api_key"),
    case("token not in ASCII", raw(auth=b"authorization: Bearer fl_\xff\xfe"), 401, "invalid_api_key"),
    case("two tokens", raw(CHAT, AUTH), 400, "invalid_headers"),
    case("two hosts", raw(CHAT, b"host: y"), 400, "invalid_headers"),
    case("no host", raw(host=None), 400, "invalid_headers"),
    case("two lengths", raw(CHAT, *TWO_LENGTHS, length=False), 400, "malformed_request"),
    case("length and chunks", raw(CHAT, b"transfer-encoding: chunked"), 400, "malformed_request"),
    case("chunks and length", raw(CHAT, b"transfer-encoding: chunked", b"content-length: 5", length=False),
         400, "malformed_request"),
    case("signed length", raw(CHAT, b"content-length: +5", length=False), 400, "malformed_request"),
    case("negative length", raw(CHAT, b"content-length: -1", length=False), 400, "malformed_request"),
    case("length of words", raw(CHAT, b"content-length: many", length=False), 400, "malformed_request"),
    case("xchunked", raw(CHAT, b"transfer-encoding: xchunked", length=False), 400, "malformed_request"),
    case("space before colon", raw(CHAT, b"transfer-encoding : chunked"), 400, "malformed_request"),
    case("folded header", raw(CHAT, b"x-a: 1\r\n 2"), 400, "malformed_request"),
    case("bare line feed", raw(CHAT, b"x-a: 1\nx-b: 2"), 400, "malformed_request"),
    case("NUL in a header", raw(CHAT, b"x-a: \x00"), 400, "malformed_request"),
    case("header without colon", raw(CHAT, b"nonsense"), 400, "malformed_request"),
    case("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "malformed_request"),
    case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    case("bad chunk size", raw(CHAT, b"transfer-encoding: chunked", length=False, body=b"zz\r\n{}\r\n"),
         400, "malformed_request"),
    case("large header", raw(CHAT, b"x-a: " + b"x" * 100_000), 431, "headers_too_large"),
    case("large path", raw(b"POST /v1/" + b"x" * 100_000 + b" HTTP/1.1"), 431, "headers_too_large"),
    case("many headers", raw(CHAT, *many(b"a", 1000)), 431, "headers_too_large"),
    case("many small headers", raw(CHAT, *many(b"b", 101)), 431, "headers_too_large"),
    case("large header first", CHAT + b"\r\nx-a: " + b"x" * 20_000, 431, "headers_too_large"),
    case("unknown path", raw(b"POST /v1/images HTTP/1.1"), 404, "unknown_url"),
    case("the API's own address", raw(b"GET /v1 HTTP/1.1"), 404, "unknown_url"),
    case("another method", raw(b"DELETE /v1/chat/completions HTTP/1.1"), 405, "method_not_allowed"),
    case("a body for models", raw(b"POST /v1/models HTTP/1.1"), 405, "method_not_allowed"),
    case("unknown model", raw(body=chat(model="gpt-7")), 404, "model_not_found"),
    case("no such model to show", raw(b"GET /v1/models/gpt-7 HTTP/1.1", body=b""), 404, "model_not_found"),
    case("model is a number", raw(body=chat(model=7)), 400, "invalid_request"),
    case("model is endless", raw(body=chat(model="m" * 10_000)), 400, "invalid_request"),
    case("no body", raw(body=b""), 400, "invalid_json"),
    case("half an object", raw(body=DOCUMENT[:-1]), 400, "invalid_json"),
    case("two objects", raw(body=DOCUMENT * 2), 400, "invalid_json"),
    case("a list", raw(body=b"[]"), 400, "invalid_json"),
    case("NaN", raw(body=b'{"model":NaN}'), 400, "invalid_json"),
    case("a byte order mark", raw(body=b"\xef\xbb\xbf" + DOCUMENT), 400, "invalid_json"),
    case("UTF-16", raw(body=json.dumps(GOOD).encode("utf-16")), 400, "invalid_json"),
    case("invalid UTF-8", raw(body=DOCUMENT.replace(b"hello", b"\xff\xfe")), 400, "invalid_json"),
    case("overlong UTF-8", raw(body=DOCUMENT.replace(b"hello", b"\xc0\xaf")), 400, "invalid_json"),
    case("half a surrogate pair", raw(body=chat(user="\ud800")), 400, "invalid_json"),
    case("65 levels", raw(body=deep(65)), 400, "too_complex"),
    case("90,000 levels", raw(body=deep(90_000)), 400, "too_complex"),
    case("half of 90,000 levels", raw(body=b"[" * 90_000), 400, "invalid_json"),
    case("10,000 members", raw(body=chat(**dict.fromkeys(map(str, range(10_000))))), 400, "invalid_request"),
    case("4,097 messages", raw(body=chat(messages=GOOD["messages"] * 4097)), 400, "invalid_request"),
    case("no message", raw(body=chat(messages=[])), 400, "invalid_request"),
    case("too large", raw(body=b"x" * (BODY_BYTES + 1)), 413, "request_too_large"),
    case("too large, only said", raw(CHAT, b"content-length: 99999999999999", length=False, body=b""),
         413, "request_too_large"),
    case("too large in a chunk", raw(CHAT, CHUNKS, length=False, body=ONE_CHUNK), 413, "request_too_large"),
    case("zip bomb", raw(CHAT, GZIP, body=BOMB), 413, "request_too_large"),
    case("not gzip", raw(CHAT, GZIP), 400, "invalid_encoding"),
    case("half of a gzip", raw(CHAT, GZIP, body=gzip.compress(DOCUMENT)[:-9]), 400, "invalid_encoding"),
    case("not deflate", raw(CHAT, DEFLATE), 400, "invalid_encoding"),
    case("nothing, as gzip", raw(CHAT, GZIP, body=b""), 400, "invalid_encoding"),
    case("gzip twice", raw(CHAT, b"content-encoding: gzip, gzip"), 415, "unsupported_encoding"),
    case("two encodings", raw(CHAT, GZIP, DEFLATE), 400, "invalid_headers"),
    case("max_tokens is absurd", raw(body=chat(max_tokens=10**9)), 400, "invalid_request"),
    case("max_tokens has 5,000 digits", raw(body=DOCUMENT[:-1] + b',"max_tokens":' + b"9" * 5000 + b"}"),
         400, "invalid_request"),
    case("max_tokens is 0", raw(body=chat(max_tokens=0)), 400, "invalid_request"),
    case("max_completion_tokens is 1e30", raw(body=chat(max_completion_tokens=1e30)), 400, "invalid_request"),
    case("n is 129", raw(body=chat(n=129)), 400, "invalid_request"),
    case("n is -1", raw(body=chat(n=-1)), 400, "invalid_request"),
    case("n is half", raw(body=chat(n=0.5)), 400, "invalid_request"),
    case("best_of is 10,000", raw(body=chat(best_of=10_000)), 400, "invalid_request"),
    case("top_logprobs is 21", raw(body=chat(logprobs=True, top_logprobs=21)), 400, "invalid_request"),
    case("user is endless", raw(body=chat(user="u" * 10_000)), 400, "invalid_request"),
    case("stream is a word", raw(body=chat(stream="yes")), 400, "invalid_request"),
    case("JSON for a form", raw(SOUND), 400, "invalid_multipart"),
    case("form without a boundary", raw(SOUND, b"content-type: multipart/form-data", body=form()),
         400, "invalid_multipart"),
    case("half a form", raw(SOUND, FORM, body=form(("model", "a"))[:-9]), 400, "invalid_multipart"),
    case("form of 300 parts", raw(SOUND, FORM, body=form(*[("x", "a")] * 300)), 400, "invalid_multipart"),
    case("form without a model", raw(SOUND, FORM, body=form()), 400, "invalid_request"),
    case("form with two models", raw(SOUND, FORM, body=form(("model", "a"), ("model", "b"))),
         400, "invalid_request"),
    case("form with an unknown model", raw(SOUND, FORM, body=form(("model", "a"))), 404, "model_not_found"),
    case("form too large", raw(SOUND, FORM, body=form(("x", "x" * BODY_BYTES))), 413, "request_too_large"),
]  # fmt: skip

FINE = [
    pytest.param(raw(body=deep(64)), id="64 levels"),
    pytest.param(raw(body=chat(x="[{" * 5_000, y=[["[" * 90]])), id="brackets in texts"),
    pytest.param(raw(body=chat(messages=GOOD["messages"] * 1000)), id="1,000 messages"),
    pytest.param(raw(body=chat(logprobs=True, top_logprobs=20, n=2)), id="20 logprobs"),
    pytest.param(raw(body=chat(user="\x00")), id="NUL in a text"),
    pytest.param(raw(body=b'{"model":"other",' + DOCUMENT[1:]), id="a member twice"),
    pytest.param(raw(CHAT, GZIP, body=gzip.compress(DOCUMENT)), id="gzip"),
    pytest.param(
        raw(CHAT, GZIP, body=gzip.compress(DOCUMENT[:9]) + gzip.compress(DOCUMENT[9:])), id="gzip in two"
    ),
    pytest.param(raw(CHAT, DEFLATE, body=zlib.compress(DOCUMENT)), id="deflate"),
    pytest.param(raw(CHAT, DEFLATE, body=zlib.compress(DOCUMENT)[2:-4]), id="deflate without its head"),
    pytest.param(raw(CHAT, b"content-encoding: identity"), id="identity"),
    pytest.param(raw(CHAT, b"X_Priority_Class: batch", b"Authori_zation: x"), id="underscores"),
    pytest.param(raw(b"POST /v1/chat/completions HTTP/1.0", host=None), id="HTTP/1.0 without a host"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served():
    async with strict_gateway() as served:
        yield served


@pytest.mark.parametrize(("data", "status", "code"), BAD)
async def test_bad_input_is_a_documented_error_at_once_and_holds_nothing(served, data, status, code) -> None:
    began, records = monotonic(), len(served.records)

    answer = await say(served, data)

    assert monotonic() - began < AT_ONCE_S
    assert (answer.status, answer.error["code"]) == (status, code)
    assert f"| {status} | `{code}` |" in ERRORS_PAGE.read_text(encoding="utf-8")
    assert answer.headers.get("x-should-retry") == "false"
    await assert_nothing_is_held(served)
    assert len(served.records) == records, "what was never accepted has no record"


@pytest.mark.parametrize("data", FINE)
async def test_what_only_looks_bad_is_served(served, data) -> None:
    records = len(served.records)

    answer = await say(served, data)

    assert answer.status == 200, answer.body
    assert len(await served.settled(records + 1)) == records + 1
