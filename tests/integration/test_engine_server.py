"""The simulated engine over HTTP: what clients and controllers see."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from pathlib import Path

import openai
import pytest

from tests.fakes.certificates import certificate
from tests.fakes.chats import FAST, LONG, chat, chat_bytes, stream
from tests.fakes.engine import running_engine
from tests.fakes.http_client import call, connection, head, read_chunks, read_head
from tests.fakes.waiting import until


def client(engine, key="none"):
    return openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key=key, max_retries=0)


async def test_the_openai_client_streams_exactly_max_tokens_events_and_the_usage():
    async with running_engine(**FAST) as engine, client(engine) as api:
        answer = await api.chat.completions.create(
            **chat(7, stream_options={"include_usage": True}),
        )
        chunks = [chunk async for chunk in answer]

    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) == 7
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (5, 7)


async def test_the_openai_client_gets_whole_answers_completions_embeddings_and_models():
    async with running_engine(**FAST) as engine, client(engine) as api:
        whole = await api.chat.completions.create(**chat(3, stream=False))
        text = await api.completions.create(model="sim", prompt="once upon", max_tokens=4)
        vectors = await api.embeddings.create(model="sim", input=["a", "b", "a"], dimensions=8)
        models = await api.models.list()

    assert whole.choices[0].message.content == "the quick brown"
    assert whole.usage.total_tokens == 8
    assert text.choices[0].text == "the quick brown fox"
    assert [len(vector.embedding) for vector in vectors.data] == [8, 8, 8]
    assert vectors.data[0].embedding == vectors.data[2].embedding != vectors.data[1].embedding
    assert (models.data[0].id, models.data[0].max_model_len) == ("sim", 8192)


async def test_each_token_is_an_event_and_a_chunk_of_its_own():
    async with running_engine(**FAST) as engine:
        chunks = await stream(engine, 4)

    assert [chunk.count(b"data: ") for chunk in chunks] == [1] * 6  # role, 4 tokens, [DONE]
    assert chunks[-1] == b"data: [DONE]\n\n"
    assert b'"finish_reason":"length"' in chunks[-2]


async def test_a_prompt_sent_again_is_found_in_the_cache_and_told_in_usage():
    prompt = "x" * 400
    async with running_engine(**FAST) as engine, client(engine) as api:
        first = await api.completions.create(model="sim", prompt=prompt, max_tokens=1)
        again = await api.completions.create(model="sim", prompt=prompt, max_tokens=1)

    assert first.usage.prompt_tokens_details is None
    assert again.usage.prompt_tokens_details.cached_tokens == 96


async def test_errors_have_the_shape_and_status_of_vllm():
    async with running_engine(max_model_len=100) as engine:
        cases = [
            await call(engine, "POST", "/v1/chat/completions", b"{no json"),
            await call(engine, "POST", "/v1/chat/completions", chat(model="other")),
            await call(engine, "POST", "/v1/chat/completions", chat(101)),
            await call(engine, "GET", "/v1/chat/completions"),
            await call(engine, "GET", "/nothing"),
        ]

    assert [status for status, _, _ in cases] == [400, 404, 400, 405, 404]
    for status, _, body in cases:
        error = json.loads(body)["error"]
        assert error["code"] == status
        assert set(error) == {"message", "type", "param", "code"}


async def test_an_unknown_model_is_refused_in_the_words_of_vllm():
    recorded = Path(__file__).parents[1] / "fakes" / "recorded" / "vllm_0.32.0_error_unknown_model.json"
    async with running_engine(model="tiny") as engine:
        _, _, body = await call(engine, "POST", "/v1/chat/completions", chat(model="no-such-model"))

    assert json.loads(body) == json.loads(recorded.read_text())


async def test_priority_overtakes_the_waiting_over_http():
    order = []

    async def ask(engine, name, priority):
        await stream(engine, 20, priority=priority)
        order.append(name)

    async with running_engine(max_num_seqs=1, scheduling_policy="priority", **FAST) as engine:
        running = asyncio.create_task(ask(engine, "running", 5))
        await until(lambda: engine.model.running == 1)
        low = asyncio.create_task(ask(engine, "low", 5))
        await until(lambda: engine.model.waiting == 1)
        high = asyncio.create_task(ask(engine, "high", 0))
        await asyncio.gather(running, low, high)

    assert order == ["running", "high", "low"]


async def test_a_client_that_leaves_frees_its_seat_and_memory_running_or_waiting():
    async with running_engine(max_num_seqs=1) as engine:
        async with connection(engine) as (reader, writer):
            writer.write(chat_bytes(LONG))
            await read_head(reader)
            await until(lambda: engine.model.memory.used > 0)
            async with connection(engine) as (waiting_reader, waiting):
                waiting.write(chat_bytes(LONG))
                await read_head(waiting_reader)
                await until(lambda: engine.model.waiting == 1)
            await until(lambda: engine.model.waiting == 0)
            assert engine.model.running == 1
        await until(lambda: (engine.model.running, engine.model.memory.used) == (0, 0))


async def test_a_client_that_leaves_before_a_whole_answer_frees_its_seat():
    async with running_engine() as engine:
        async with connection(engine) as (_, writer):
            writer.write(chat_bytes(LONG, stream=False))
            await until(lambda: engine.model.running == 1)
        await until(lambda: engine.model.running == 0)


async def test_a_full_queue_is_503_and_counted():
    async with running_engine(max_num_queued_reqs=1) as engine, connection(engine) as (_, writer):
        writer.write(chat_bytes(LONG))
        await until(lambda: engine.model.running == 1)

        status, _, body = await call(engine, "POST", "/v1/chat/completions", chat())
        _, _, page = await call(engine, "GET", "/metrics")

    assert (status, json.loads(body)["error"]["code"]) == (503, 503)
    assert b'admission_rejections_total{model_name="sim",reason="max_num_queued_reqs"} 1.0' in page


async def test_the_page_tells_running_waiting_and_the_lag():
    async with running_engine(max_num_seqs=1) as engine, connection(engine) as (_, writer):
        for _ in range(3):
            writer.write(chat_bytes(LONG))  # pipelined: one at a time on one connection
        await until(lambda: engine.model.running == 1)
        async with connection(engine) as (_, other):
            other.write(chat_bytes(LONG))
            await until(lambda: engine.model.waiting == 1)
            _, headers, page = await call(engine, "GET", "/metrics")

    assert headers["content-type"].startswith("text/plain")
    assert b'vllm:num_requests_running{engine="0",model_name="sim"} 1.0' in page
    assert b'vllm:num_requests_waiting{engine="0",model_name="sim"} 1.0' in page
    assert b"\nsim_lag_seconds " in page


async def test_an_engine_that_was_held_up_says_so():
    async with running_engine() as engine, connection(engine) as (_, writer):
        writer.write(chat_bytes(LONG))
        await until(lambda: engine.model.running == 1)
        time.sleep(0.3)  # the whole loop stands still, as on an overloaded machine
        await asyncio.sleep(0.02)
        _, _, page = await call(engine, "GET", "/metrics")

    assert float(page.split(b"\nsim_lag_seconds ")[1].split()[0]) > 0.2
    assert float(page.split(b"\nsim_lost_seconds_total ")[1].split()[0]) > 0.2


async def test_one_connection_serves_many_requests_in_order():
    async with running_engine(**FAST) as engine, connection(engine) as (reader, writer):
        writer.write(chat_bytes(2) + head("GET", "/health") + chat_bytes(3))
        await read_head(reader)
        first = await read_chunks(reader)
        health, _ = await read_head(reader)
        await read_head(reader)
        second = await read_chunks(reader)

    assert (len(first), health, len(second)) == (4, 200, 5)


async def test_an_idle_connection_is_closed_after_its_time():
    async with running_engine(keep_alive_s=0.05) as engine, connection(engine) as (reader, writer):
        writer.write(head("GET", "/health"))
        await read_head(reader)

        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_broken_http_is_a_400():
    async with running_engine() as engine, connection(engine) as (reader, writer):
        writer.write(b"NONSENSE\r\n\r\n")

        assert (await read_head(reader))[0] == 400


async def test_with_a_key_only_those_who_send_it_get_in():
    async with running_engine(api_key="open", **FAST) as engine:
        missing, _, _ = await call(engine, "GET", "/v1/models")
        right, _, _ = await call(engine, "GET", "/v1/models", headers={"Authorization": "Bearer open"})
        health, _, _ = await call(engine, "GET", "/health")

    assert (missing, right, health) == (401, 200, 200)


async def test_a_whole_answer_carries_the_load_report_when_asked():
    asked = {"endpoint-load-metrics-format": "json"}
    async with running_engine(**FAST) as engine:
        _, headers, _ = await call(engine, "POST", "/v1/chat/completions", chat(2, stream=False), asked)

    kind, report = headers["endpoint-load-metrics"].split(" ", 1)
    assert kind == "JSON"
    assert json.loads(report) == {"named_metrics": {"kv_cache_usage_perc": 0.0, "num_requests_waiting": 0.0}}


@pytest.mark.parametrize(
    ("orca", "asked", "told"),
    [("always", {}, True), ("never", {"endpoint-load-metrics-format": "json"}, False), ("asked", {}, False)],
)
async def test_whether_its_load_is_told_may_be_set(orca, asked, told):
    async with running_engine(orca=orca, **FAST) as engine:
        _, headers, _ = await call(engine, "POST", "/v1/chat/completions", chat(2, stream=False), asked)

    assert ("endpoint-load-metrics" in headers) is told


async def test_an_onlooker_sees_its_state_also_while_its_metrics_fail():
    async with running_engine(failures=("metrics_500",), **FAST) as engine:
        await call(engine, "POST", "/v1/chat/completions", chat(2, stream=False))
        page, _, _ = await call(engine, "GET", "/metrics")
        _, _, body = await call(engine, "GET", "/sim/state")

    nothing = ("running", "waiting", "preemptions", "cached_tokens", "aborted")
    assert page == 500
    assert json.loads(body) == dict.fromkeys(nothing, 0)


async def test_it_serves_its_model_under_every_name_that_it_was_given():
    async with running_engine(aliases=("other",), **FAST) as engine:
        asked = {**chat(1, stream=False), "model": "other"}
        status, _, _ = await call(engine, "POST", "/v1/chat/completions", asked)

    assert status == 200


async def test_a_taken_port_is_one_clear_line():
    async with running_engine() as engine:
        command = [sys.executable, "-m", "scheduling.simulation.engine", "--port", str(engine.port)]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, error = await process.communicate()
        process._transport.close()

    assert process.returncode == 2
    assert f"port {engine.port} on 127.0.0.1 is taken: choose another with --port" in error.decode()


async def test_manage_py_engine_needs_no_database_and_stops_when_told():
    environment = {**os.environ, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}
    command = [sys.executable, "manage.py", "engine", "--port", "0", "--model", "demo"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=environment, cwd=Path(__file__).parents[2]
    )
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    process.terminate()
    code = await asyncio.wait_for(process.wait(), 5)
    process._transport.close()

    assert line.startswith(b"Simulated engine listening on http://127.0.0.1:")
    assert code == 0


async def test_it_speaks_https_with_a_certificate(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    own = certificate("127.0.0.1")
    cert.write_text(own.pem)
    key.write_text(own.key_pem)
    async with running_engine(ssl_certfile=str(cert), ssl_keyfile=str(key), **FAST) as engine:
        trust = ssl.create_default_context(cafile=cert)
        status, _, _ = await call(engine, "POST", "/v1/chat/completions", chat(2, stream=False), tls=trust)

    assert engine.url.startswith("https://")
    assert status == 200
