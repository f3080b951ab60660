"""Engines that break and clients that leave: no silent truncation, no seat that stays taken."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from time import monotonic

import httpx2 as httpx
import openai
import pytest

from gateway.relay import RelayOptions
from gateway.settings import Settings
from tests.fakes.engine import engine_process
from tests.fakes.faulty import CHUNKED_HEAD, answer, chunk, faulty_engine, says, stream
from tests.fakes.gateway import MODEL, Cast, running_gateway

CAST = Cast.of("research")
SECRET = CAST.secrets["research"]
AUTH = {"authorization": f"Bearer {SECRET}"}
CHAT = "/v1/chat/completions"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
STREAM = {**BODY, "stream": True}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
GOOD = stream(EVENT, FINISH)
WHOLE = answer(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}')
BUSY = answer(b'{"error":{"message":"full"}}', "503 Service Unavailable", "retry-after: 0")
AT_ONCE_S = 0.1


@asynccontextmanager
async def gateway(*engines, **options):
    """A gateway before one faulty engine per argument (a script, or several in a tuple)."""
    names = tuple(f"gpu-{number}" for number in range(len(engines)))
    async with _all(engines) as running:
        urls = {name: f"http://127.0.0.1:{one.port}" for name, one in zip(names, running, strict=True)}
        policy = CAST.policy(names, max_in_flight=options.pop("max_in_flight", 8))
        async with running_gateway(policy, CAST.callers(), urls, **options) as served:
            yield served, running


@asynccontextmanager
async def _all(engines, running=()):
    if not engines:
        yield running
        return
    scripts = engines[0] if isinstance(engines[0], tuple) else (engines[0],)
    async with faulty_engine(*scripts) as one, _all(engines[1:], (*running, one)) as every:
        yield every


async def post(served, body):
    async with httpx.AsyncClient(base_url=served.url, headers=AUTH, timeout=10) as client:
        return await client.post(CHAT, json=body)


async def read_raw(served, body):
    """All bytes of the response until the connection is closed."""
    reader, writer = await send_raw(served, body)
    async with asyncio.timeout(5):
        data = await reader.read()
    writer.close()
    return data


async def send_raw(served, body):
    raw = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
    head += f"content-length: {len(raw)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(head.encode() + raw)
    return reader, writer


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


def in_flight(served):
    return sum(view.in_flight for view in served.dispatcher.view())


def queued(served):
    return sum(view.queued for view in served.dispatcher.view())


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_request_whose_engine_is_dead_is_answered_by_another(body):
    good = WHOLE if body is BODY else GOOD
    async with gateway(says(then="close"), says(good)) as (served, _):
        answers = [await post(served, body) for _ in range(4)]
        records = await served.settled(4)
    assert {each.status_code for each in answers} == {200}
    assert {record.outcome for record in records} == {"ok"}
    assert {record.backend for record in records} == {"gpu-1"}
    assert max(record.attempt for record in records) == 2


async def test_an_engine_that_is_not_there_is_a_502_with_a_record():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with running_gateway(CAST.policy(), CAST.callers(), {"gpu-0": url}) as served:
            refused = await post(served, STREAM)
            records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "connect_fail")
    assert (records[0].outcome, records[0].cost) == ("connect_fail", 0)


async def test_a_request_that_breaks_two_engines_is_not_given_a_third():
    dying = says(then="close")
    async with gateway(dying, dying, dying) as (served, engines):
        refused = await post(served, BODY)
        records = await served.settled(1)
    assert refused.status_code == 502
    assert sum(len(engine.asked) for engine in engines) == 2
    assert records[0].attempt == 2


@pytest.mark.parametrize("end", ["reset", "close", "eof"])
async def test_an_engine_that_dies_mid_stream_is_never_a_clean_end(end, caplog):
    if end == "eof":
        script = says(CHUNKED_HEAD + chunk(EVENT) + b"0\r\n\r\n")
    else:
        script = says(CHUNKED_HEAD + chunk(EVENT), then=end)
    async with gateway(script) as (served, _):
        data = await read_raw(served, STREAM)
        records = await served.settled(1)
        await until(lambda: in_flight(served) == 0)
    assert EVENT in data
    assert b'data: {"error":{"message":' in data
    assert not data.endswith(b"0\r\n\r\n")
    assert b"connection: close" not in data.lower()
    assert (records[0].outcome, records[0].status) == ("upstream_reset", 200)
    assert records[0].estimated
    assert records[0].cost > 0
    assert "ASGI callable" not in caplog.text, "the server must not take it for a bug"


async def test_the_openai_sdk_raises_when_the_engine_dies_mid_stream(caplog):
    async with (
        gateway(says(CHUNKED_HEAD + chunk(EVENT), then="reset")) as (served, _),
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=SECRET, max_retries=0) as client,
    ):
        answers = await client.chat.completions.create(**STREAM)
        with pytest.raises(openai.APIError):
            async for _ in answers:
                pass
    assert "Traceback" not in caplog.text


async def test_an_engine_killed_mid_stream_frees_its_seat():
    async with (
        engine_process("--model", MODEL, "--time-scale", "0.1") as engine,
        running_gateway(CAST.policy(), CAST.callers(), {"gpu-0": engine.url}) as served,
    ):
        reader, writer = await send_raw(served, {**STREAM, "max_tokens": 1000})
        await reader.readuntil(b"data: ")
        engine.kill()
        async with asyncio.timeout(5):
            rest = await reader.read()
        writer.close()
        records = await served.settled(1)
        await until(lambda: in_flight(served) == 0)
    assert not rest.endswith(b"0\r\n\r\n")
    assert records[0].outcome == "upstream_reset"


async def test_a_whole_answer_that_breaks_in_the_middle_is_a_502():
    half = WHOLE[:-10]
    async with gateway(says(half, then="close")) as (served, _):
        refused = await post(served, BODY)
        records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_reset")
    assert records[0].outcome == "upstream_reset"


async def test_a_busy_engine_is_asked_again_and_the_client_never_knows():
    async with gateway((says(BUSY, BUSY, then="close"), says(GOOD))) as (served, engines):
        answered = await post(served, STREAM)
        records = await served.settled(1)
    assert answered.status_code == 200
    assert len(engines[0].asked) >= 2
    assert (records[0].outcome, records[0].attempt) == ("ok", len(engines[0].asked))


async def test_an_engine_that_stays_busy_is_given_up_at_the_deadline():
    settings = Settings(queue_timeout_s=0.4)
    async with gateway(says(BUSY), settings=settings) as (served, _):
        refused = await post(served, BODY)
        records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
    assert (records[0].outcome, records[0].cost) == ("queue_timeout", 0)


async def test_what_an_engine_says_of_a_bad_request_reaches_the_client():
    body = b'{"error":{"message":"too many tokens","type":"x","param":null,"code":400}}'
    async with gateway(says(answer(body, "400 Bad Request"))) as (served, _):
        refused = await post(served, STREAM)
        records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "too many tokens")
    assert (records[0].outcome, records[0].status, records[0].cost) == ("upstream_4xx", 400, 0)


async def test_an_engine_that_rejects_the_gateway_is_no_fault_of_the_clients():
    async with gateway(says(answer(b'{"error":"bad key"}', "401 Unauthorized"))) as (served, _):
        refused = await post(served, BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_4xx")


async def test_a_silent_engine_is_a_504():
    options = RelayOptions(first_byte_s=0.1)
    async with gateway(says(then="stall"), relay=options) as (served, _):
        refused = await post(served, BODY)
        await until(lambda: in_flight(served) == 0)
    assert (refused.status_code, refused.json()["error"]["code"]) == (504, "upstream_timeout_ttft")


async def test_a_waiting_stream_hears_of_its_place_and_then_gets_its_answer():
    settings = Settings(hold_status_s=0.05, comment_every_s=0.05)
    slow = stall_then(0.3, GOOD)
    async with gateway(slow, settings=settings, max_in_flight=1) as (served, _):
        first = asyncio.create_task(post(served, STREAM))
        await until(lambda: in_flight(served) == 1)
        second = await post(served, STREAM)
        first = await first
    assert first.text.startswith(": working\n\n")
    assert second.text.startswith(": queued position=1\n\n")
    assert second.text.count(": ") > 2
    for text in (first.text, second.text):
        assert text.endswith("data: [DONE]\n\n")
        assert "id:" not in text.replace('"id":', "")


async def test_a_queued_stream_is_held_so_that_a_refusal_is_a_real_error():
    settings = Settings(queue_timeout_s=0.2, hold_status_s=5)
    async with gateway(says(then="stall"), settings=settings, max_in_flight=1) as (served, _):
        reader, writer = await send_raw(served, STREAM)
        await until(lambda: in_flight(served) == 1)
        refused = await post(served, STREAM)
        writer.close()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
    assert reader is not None


async def test_a_refusal_after_the_status_line_is_an_error_event_and_a_broken_connection():
    settings = Settings(queue_timeout_s=0.3, hold_status_s=0.05, comment_every_s=0.05)
    async with gateway(says(then="stall"), settings=settings, max_in_flight=1) as (served, _):
        _, writer = await send_raw(served, STREAM)
        await until(lambda: in_flight(served) == 1)
        data = await read_raw(served, STREAM)
        writer.close()
        records = await served.settled(1)
    assert b": queued position=1\n\n" in data
    assert b'"code":"queue_timeout"' in data
    assert not data.endswith(b"0\r\n\r\n")
    assert (records[0].outcome, records[0].status) == ("queue_timeout", 200)


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_while_queued_is_never_dispatched(body):
    async with gateway(says(then="stall"), max_in_flight=1) as (served, engines):
        _, holder = await send_raw(served, body)
        await until(lambda: in_flight(served) == 1)
        _, leaver = await send_raw(served, body)
        await until(lambda: queued(served) == 1)
        left = monotonic()
        leaver.transport.abort()
        await until(lambda: queued(served) == 0)
        took = monotonic() - left
        records = list(await served.settled(1))
        holder.close()
    assert took < AT_ONCE_S
    assert (records[0].outcome, records[0].status, records[0].cost) == ("client_gone_queued", 499, 0)
    assert len(engines[0].asked) == 1


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_mid_answer_frees_the_engine_at_once_and_pays_for_what_it_got(body):
    started = CHUNKED_HEAD + chunk(EVENT) + chunk(EVENT) if body is STREAM else b""
    async with gateway(says(started, then="stall")) as (served, engines):
        reader, writer = await send_raw(served, body)
        if body is STREAM:
            await reader.readuntil(EVENT)
        else:
            await until(lambda: engines[0].asked)
        left = monotonic()
        writer.transport.abort()
        await until(lambda: in_flight(served) == 0)
        await until(lambda: not engines[0].tasks)
        took = monotonic() - left
        records = await served.settled(1)
    assert took < AT_ONCE_S
    assert (records[0].outcome, records[0].status) == ("client_gone_streaming", 499)
    assert records[0].estimated
    assert records[0].cost >= records[0].prompt_tokens > 0


async def test_a_client_that_does_not_read_is_cut_off_and_the_engine_let_go():
    flood = CHUNKED_HEAD + chunk(b": " + b"x" * 65536 + b"\n\n") * 400
    settings = Settings(slow_client_s=0.3)
    async with gateway(says(flood, then="stall"), settings=settings) as (served, _):
        _, writer = await send_raw(served, STREAM)
        writer.transport.pause_reading()
        records = await served.settled(1)
        await until(lambda: in_flight(served) == 0)
        writer.transport.abort()
    assert (records[0].outcome, records[0].status) == ("slow_client", 499)


async def test_an_internal_failure_is_a_500_with_one_record(monkeypatch, caplog):
    def explode(*_):
        raise RuntimeError("bug")

    async with gateway(says(WHOLE)) as (served, _):
        monkeypatch.setattr(served.relay, "open", explode)
        failed = await post(served, BODY)
        records = await served.settled(1)
        assert in_flight(served) == 0
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal")
    assert (records[0].outcome, records[0].status) == ("internal", 500)
    assert failed.headers["x-fairlane-request-id"] in caplog.text


def stall_then(seconds, *parts):
    async def script(peer):
        while True:
            await peer.request()
            await asyncio.sleep(seconds)
            await peer.send(*parts)

    return script
