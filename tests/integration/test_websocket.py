"""Chat completions over a WebSocket: frames, waiting, cancelling, refusals, and every way of ending."""

from __future__ import annotations

import asyncio
import json
from time import monotonic

import pytest
from websockets.exceptions import InvalidStatus

from gateway import tokens
from gateway.callers import CallerTable
from gateway.models import UsageRecord
from gateway.settings import Settings
from scheduling.core.policy import REQUESTS_PER_MINUTE
from tests.fakes import plane, socket_client
from tests.fakes.engine import running_engine
from tests.fakes.faulty import CHUNKED_HEAD, answer, chunk, says
from tests.fakes.faulty_gateway import SECRET, in_flight, queued
from tests.fakes.socket_client import ask, closed_with, frame, kinds, talk, until_done
from tests.fakes.socket_gateway import BEGUN, GOOD, gateway
from tests.fakes.waiting import until

AT_ONCE_S = 0.1


async def test_an_answer_is_chunks_then_the_usage_then_done_and_one_record() -> None:
    async with gateway(says(GOOD)) as (served, engine), talk(served.url, SECRET) as socket:
        await ask(socket, request_id="mine", stream=False)
        frames = await until_done(socket)
        records = await served.settled(1)
    assert kinds(frames) == ["chunk", "usage", "done"]
    assert frames[0]["data"]["choices"][0]["delta"] == {"content": "hi"}
    usage = frames[-2]
    assert usage["usage"]["total_tokens"] == 5
    assert (usage["outcome"], usage["estimated"]) == ("ok", False)
    assert usage["request_id"] == records[0].request_id
    assert records[0].client_request_id == "mine"
    assert (records[0].outcome, records[0].stream) == ("ok", True)
    assert json.loads(engine.asked[0].body)["stream"] is True, "of a member that comes twice the last counts"


async def test_several_requests_are_served_one_after_another_on_one_socket() -> None:
    async with gateway(says(GOOD)) as (served, _), talk(served.url, SECRET) as socket:
        for _ in range(3):
            await ask(socket)
            assert kinds(await until_done(socket)) == ["chunk", "usage", "done"]
        assert len(await served.settled(3)) == 3


async def test_a_request_in_line_is_told_its_place_at_once_and_again_later() -> None:
    settings = Settings(comment_every_s=0.1)
    served_by = gateway(says(BEGUN, then="stall"), settings=settings, max_in_flight=1)
    async with (
        served_by as (served, _),
        talk(served.url, SECRET) as first,
        talk(served.url, SECRET) as second,
    ):
        await ask(first)
        await until(lambda: in_flight(served) == 1)
        began = monotonic()
        await ask(second)
        told = [await frame(second) for _ in range(3)]
    assert told[0] == {"type": "queued", "position": 1, "eta_s": told[0]["eta_s"]}
    assert [each["type"] for each in told] == ["queued"] * 3
    assert monotonic() - began < 2


@pytest.mark.parametrize("frames_before", [0, 2], ids=["in line or before the first token", "mid-answer"])
async def test_cancel_frees_the_seat_at_once_and_the_socket_goes_on(frames_before) -> None:
    script = says(BEGUN, then="stall") if frames_before else says(then="stall")
    async with gateway(script, max_in_flight=1) as (served, engine), talk(served.url, SECRET) as socket:
        await ask(socket)
        await until(lambda: engine.asked)
        for _ in range(frames_before):
            assert (await frame(socket))["type"] == "chunk"
        left = monotonic()
        await socket.send('{"type":"cancel"}')
        await until(lambda: in_flight(served) == 0)
        took_s = monotonic() - left
        rest = await until_done(socket)
        await ask(socket)
        await until(lambda: in_flight(served) == 1)
        records = await served.settled(1)
    assert took_s < AT_ONCE_S
    assert kinds(rest) == ["usage", "done"]
    assert rest[0]["outcome"] == records[0].outcome == "client_gone_streaming"


async def test_a_cancel_right_after_the_request_ends_it_in_order() -> None:
    async with gateway(says(then="stall")) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        await socket.send('{"type":"cancel"}')
        assert kinds(await until_done(socket))[-2:] == ["usage", "done"]
        await until(lambda: served.gateway.books.unsettled == 0)
        assert in_flight(served) == queued(served) == 0


async def test_closing_the_socket_cancels_at_once() -> None:
    async with gateway(says(BEGUN, then="stall")) as (served, engine):
        async with talk(served.url, SECRET) as socket:
            await ask(socket)
            await frame(socket)
            left = monotonic()
            socket.transport.abort()
            await until(lambda: in_flight(served) == 0)
            await until(lambda: not engine.tasks)
            took_s = monotonic() - left
        records = await served.settled(1)
    assert took_s < AT_ONCE_S
    assert (records[0].outcome, records[0].status) == ("client_gone_streaming", 499)


async def test_a_quota_that_is_used_up_is_an_error_frame_and_the_socket_goes_on() -> None:
    served_by = gateway(says(GOOD), quotas={REQUESTS_PER_MINUTE: 1})
    async with served_by as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        await until_done(socket)
        await ask(socket)
        refused = await until_done(socket)
        await ask(socket, model="gpt-7")
        unknown = await until_done(socket)
    assert kinds(refused) == ["error", "usage", "done"]
    assert (refused[0]["status"], refused[0]["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused[0]["retry_after_ms"] > 0
    assert refused[1]["usage"]["total_tokens"] == 0
    assert kinds(unknown) == ["error", "done"], "what was never accepted has no usage"
    assert set(unknown[0]["error"]) == {"message", "type", "param", "code"}


async def test_an_engine_that_dies_mid_answer_is_an_error_frame_and_a_close_code() -> None:
    async with gateway(says(BEGUN, then="reset")) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        frames = await until_done(socket)
        code = await closed_with(socket)
        records = await served.settled(1)
    assert kinds(frames) == ["chunk", "error", "usage", "done"]
    assert frames[-3]["error"]["code"] == "upstream_reset"
    assert code == 1011
    assert (records[0].outcome, records[0].estimated) == ("upstream_reset", True)


async def test_an_answer_that_is_no_stream_comes_in_one_chunk() -> None:
    body = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
    async with gateway(says(answer(body))) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        frames = await until_done(socket)
    assert [each["type"] for each in frames] == ["chunk", "usage", "done"]
    assert frames[0]["data"] == json.loads(body)


async def test_an_event_that_is_no_json_is_an_error_and_never_a_broken_frame() -> None:
    script = says(CHUNKED_HEAD + chunk(b"data: {oops\n\n"), then="stall")
    async with gateway(script) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        frames = await until_done(socket)
        assert in_flight(served) == 0
    assert frames[0]["error"]["code"] == "upstream_garbage"


async def test_a_second_request_while_one_runs_is_refused_and_the_first_goes_on() -> None:
    async with gateway(says(BEGUN, then="stall")) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        await frame(socket)
        await ask(socket)
        refused = await socket_client.until(socket, "error")
        assert in_flight(served) == 1
    assert (refused["status"], refused["error"]["code"]) == (409, "request_running")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param("{", "invalid_json", id="no JSON"),
        pytest.param('{"type":"request","body":{"x":' + "[" * 50_000, "invalid_json", id="deep"),
        pytest.param("[]", "invalid_request", id="a list"),
        pytest.param('{"type":"hello"}', "invalid_request", id="another type"),
        pytest.param('{"type":"request"}', "invalid_request", id="no body"),
        pytest.param('{"type":"request","body":[]}', "invalid_request", id="a list for a body"),
        pytest.param('{"type":"request","body":{}}', "invalid_request", id="an empty body"),
        pytest.param('{"type":"request","id":7,"body":{}}', "invalid_request", id="a number for an id"),
        pytest.param(b"\x00\xff", "invalid_request", id="bytes"),
    ],
)
async def test_a_bad_frame_is_an_error_frame_and_holds_nothing(sent, code) -> None:
    async with gateway(says(GOOD)) as (served, _), talk(served.url, SECRET) as socket:
        await socket.send(sent)
        refused = await socket_client.until(socket, "error")
        await ask(socket)
        assert (await socket_client.until(socket, "usage"))["outcome"] == "ok"
        records = await served.settled(1)
    assert refused["error"]["code"] == code
    assert len(records) == 1


async def test_a_browser_sends_its_token_as_a_subprotocol_which_is_never_said_back() -> None:
    offered = ["fairlane.v1", f"fairlane.bearer.{SECRET}"]
    async with gateway(says(GOOD)) as (served, _), talk(served.url, subprotocols=offered) as socket:
        assert socket.subprotocol == "fairlane.v1"
        await ask(socket)
        assert kinds(await until_done(socket)) == ["chunk", "usage", "done"]


@pytest.mark.parametrize(
    "options",
    [{}, {"subprotocols": ["fairlane.v1", f"fairlane.bearer.{tokens.generate()}"]}],
    ids=["none", "unknown"],
)
async def test_without_a_good_token_the_handshake_is_refused_as_a_request_would_be(options) -> None:
    async with gateway(says(GOOD)) as (served, _):
        with pytest.raises(InvalidStatus) as refused:
            async with talk(served.url, **options):
                pass
    response = refused.value.response
    assert response.status_code == 401
    assert json.loads(response.body)["error"]["code"] == "invalid_api_key"
    assert response.headers["x-request-id"]


async def test_a_token_that_is_revoked_is_refused_at_the_next_request() -> None:
    async with gateway(says(GOOD)) as (served, _), talk(served.url, SECRET) as socket:
        served.gateway.set_callers(CallerTable())
        await ask(socket)
        refused = await until_done(socket)
        code = await closed_with(socket)
    assert refused[0]["error"]["code"] == "invalid_api_key"
    assert code == 1008


async def test_a_client_that_does_not_read_is_cut_off_and_the_engine_let_go() -> None:
    event = b'data: {"x":"' + b"x" * 65536 + b'"}\n\n'
    flood = says(CHUNKED_HEAD + chunk(event) * 400, then="stall")
    served_by = gateway(flood, settings=Settings(slow_client_s=0.3))
    async with served_by as (served, _), talk(served.url, SECRET, compression=None) as socket:
        await ask(socket)
        socket.transport.pause_reading()
        records = await served.settled(1)
        await until(lambda: in_flight(served) == 0)
        socket.transport.abort()
    assert (records[0].outcome, records[0].status) == ("slow_client", 499)


async def test_a_gateway_that_stops_tells_the_request_and_closes_with_service_restart() -> None:
    async with gateway(says(BEGUN, then="stall")) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        await frame(socket)
        draining = asyncio.create_task(served.gateway.drain(0))
        error = await socket_client.until(socket, "error")
        code = await closed_with(socket)
        await draining
    assert error["error"]["code"] == "draining"
    assert code == 1012


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
async def test_the_product_serves_it_by_the_queue_of_everybody_and_stores_its_record(valkey) -> None:
    async with running_engine(time_scale=5, model=plane.MODEL) as engine, plane.running_plane() as product:
        secrets = await product.setup([engine], {"chat": {}, "research": {}}, seats=1)
        url = product.url
        async with talk(url, secrets["chat"]) as first, talk(url, secrets["research"]) as second:
            await ask(first, plane.MODEL, max_tokens=300)
            await socket_client.until(first, "chunk")
            await ask(second, plane.MODEL, max_tokens=5)
            told = await frame(second)
            await first.send('{"type":"cancel"}')
            await until_done(first)
            served = await until_done(second)
        await until(lambda: product.gateway.books.unsettled == 0)
    outcomes = await plane.read(lambda: dict(UsageRecord.objects.values_list("tenant", "outcome")))
    assert (told["type"], told["position"]) == ("queued", 1)
    assert kinds(served)[-3:] == ["chunk", "usage", "done"]
    assert served[-2]["usage"]["completion_tokens"] == 5
    assert outcomes == {"chat": "client_gone_streaming", "research": "ok"}
