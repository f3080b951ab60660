"""The simulated engine over HTTP: what clients, controllers and broken days see."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest

from tests.fakes.engine import engine_process, running_engine

FAST = {"time_scale": 10.0}  # a step of the default profile is then about 1.2 ms
LONG = 4000  # tokens: an answer that does not end within a test


@asynccontextmanager
async def connection(engine, tls=None):
    host, port = engine.url.rpartition("//")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(method, path, body=b"", headers=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: sim", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def read_head(reader):
    text = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = text.rstrip().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}


async def call(engine, method, path, body=b"", headers=None, tls=None):
    """One request of a known length: status, headers, body."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    async with connection(engine, tls) as (reader, writer):
        writer.write(head(method, path, body, headers))
        status, got = await read_head(reader)
        return status, got, await reader.readexactly(int(got["content-length"]))


def chat(tokens=5, *, stream=True, **more):
    messages = [{"role": "user", "content": "hello there"}]
    return {"model": "sim", "messages": messages, "max_tokens": tokens, "stream": stream, **more}


def chat_bytes(*args, headers=None, **more):
    return head("POST", "/v1/chat/completions", json.dumps(chat(*args, **more)).encode(), headers)


async def read_chunks(reader):
    """The chunks of a stream until its proper end."""
    chunks = []
    while size := int(await reader.readline(), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return chunks


async def stream(engine, *args, headers=None, **more):
    async with connection(engine) as (reader, writer):
        writer.write(chat_bytes(*args, headers=headers, **more))
        status, _ = await read_head(reader)
        assert status == 200
        return await read_chunks(reader)


async def rest_of(reader):
    """How a connection ended, whatever still came."""
    try:
        while await asyncio.wait_for(reader.read(65536), 5):
            pass
    except ConnectionResetError:
        return "reset"
    return "closed"


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


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
    ("fault", "status", "retry_after"),
    [("http_500", 500, None), ("http_429:7", 429, "7"), ("http_503", 503, "1"), ("html_error", 502, None)],
)
async def test_a_failure_before_the_first_byte(fault, status, retry_after):
    async with running_engine(failures=(fault,)) as engine:
        got, headers, body = await call(engine, "POST", "/v1/chat/completions", chat())

        assert (got, headers.get("retry-after")) == (status, retry_after)
        assert body.startswith(b"<!doctype html>" if fault == "html_error" else b'{"error"')
        assert engine.model.running == 0


async def broken_stream(engine, headers=None, **more):
    """What arrives of a stream until it breaks, and how it ended."""
    async with connection(engine) as (reader, writer):
        writer.write(chat_bytes(20, headers=headers, **more))
        await read_head(reader)
        got = b""
        try:
            while True:
                piece = await asyncio.wait_for(reader.read(65536), 0.3)
                if not piece:
                    return got, "closed"
                got += piece
                if got.endswith(b"0\r\n\r\n"):
                    return got, "ended"
        except TimeoutError:
            return got, "silent"
        except ConnectionResetError:
            return got, "reset"


@pytest.mark.parametrize(
    ("fault", "ending"),
    [("reset_mid:3", "reset"), ("cut_mid:3", "closed"), ("eof_mid:3", "ended"), ("stall_mid:3", "silent")],
)
async def test_a_failure_after_three_events(fault, ending):
    async with running_engine(failures=(fault,), **FAST) as engine:
        got, ended = await broken_stream(engine)
        await until(lambda: engine.model.running == 0)

    assert ended == ending
    assert b"[DONE]" not in got
    if ending != "reset":  # a reset may throw away what was not read yet
        assert got.count(b'"delta":{"content"') == 3


async def test_a_stall_before_the_first_byte_may_end():
    async with running_engine(**FAST) as engine, connection(engine) as (reader, writer):
        writer.write(chat_bytes(2, headers={"x-sim-fault": "stall_first:0.1"}))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        assert (await read_head(reader))[0] == 200
        assert len(await read_chunks(reader)) == 4


async def test_garbage_and_a_huge_event_in_a_stream_that_goes_on():
    async with running_engine(**FAST) as engine:
        garbage = await stream(engine, headers={"x-sim-fault": "garbage_event:2"})
        huge = await stream(engine, headers={"x-sim-fault": "huge_event:2"})

    assert b"oops" in garbage[3]
    assert len(huge[3]) > 2_000_000
    assert garbage[-1] == huge[-1] == b"data: [DONE]\n\n"


async def test_a_failure_can_be_asked_for_in_the_model_name():
    async with running_engine(**FAST) as engine:
        status, _, _ = await call(engine, "POST", "/v1/chat/completions", chat(model="sim!http_503:2"))
        wrong, _, body = await call(engine, "POST", "/v1/chat/completions", chat(model="sim!oops"))

    assert status == 503
    assert wrong == 400
    assert b"oops" in body


async def test_a_wrong_content_type_on_a_good_answer():
    async with running_engine(failures=("wrong_type",), **FAST) as engine:
        _, headers, body = await call(engine, "POST", "/v1/chat/completions", chat(2, stream=False))

    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert json.loads(body)["usage"]["completion_tokens"] == 2


async def test_failures_are_set_counted_down_and_cleared_while_it_runs():
    async with running_engine(**FAST) as engine:
        _, _, told = await call(engine, "POST", "/sim/failures", {"failures": ["http_500*1", "metrics_500"]})
        struck = [
            (await call(engine, "POST", "/v1/chat/completions", chat(1, stream=False)))[0] for _ in "12"
        ]
        page, _, _ = await call(engine, "GET", "/metrics")
        _, _, cleared = await call(engine, "DELETE", "/sim/failures")
        wrong, _, _ = await call(engine, "POST", "/sim/failures", {"failures": ["oops"]})
        well, _, _ = await call(engine, "GET", "/metrics")

    assert json.loads(told) == {"failures": ["http_500*1", "metrics_500"]}
    assert (struck, page) == ([500, 200], 500)
    assert json.loads(cleared) == {"failures": []}
    assert (wrong, well) == (400, 200)


async def test_broken_metrics_pages():
    async def page(engine, fault):
        await call(engine, "POST", "/sim/failures", {"failures": [fault]})
        return (await call(engine, "GET", "/metrics"))[2]

    async with running_engine(**FAST) as engine:
        empty = await page(engine, "metrics_empty")
        nan = await page(engine, "metrics_nan")
        garbage = await page(engine, "metrics_garbage")
        frozen = await page(engine, "metrics_frozen")
        await stream(engine)
        still = (await call(engine, "GET", "/metrics"))[2]
        slow = await page(engine, "metrics_slow:0.02")

    assert b"vllm:" not in empty
    assert b"process_start_time_seconds" in empty
    assert b'vllm:num_requests_running{engine="0",model_name="sim"} NaN' in nan
    assert b"\x00" in garbage
    assert still == frozen
    assert b'generation_tokens_total{engine="0",model_name="sim"} 5.0' in slow


async def test_death_drops_every_connection_and_the_port():
    async with running_engine() as engine, connection(engine) as (reader, writer):
        writer.write(chat_bytes(LONG))
        await read_head(reader)
        async with connection(engine) as (_, other):
            other.write(head("POST", "/sim/die"))
            assert await rest_of(reader) in ("closed", "reset")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", engine.port)


async def test_a_killed_process_breaks_its_streams():
    async with engine_process("--max-num-seqs", "2") as process, connection(process) as (reader, writer):
        writer.write(chat_bytes(LONG))
        await read_head(reader)
        process.kill()
        assert await rest_of(reader) in ("closed", "reset")
        assert await process.process.wait() == -9


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
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -days 2"
    kind = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    command = ["openssl", "req", "-x509", *kind.split(), *subject.split(), "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    async with running_engine(ssl_certfile=cert, ssl_keyfile=key, **FAST) as engine:
        trust = ssl.create_default_context(cafile=cert)
        status, _, _ = await call(engine, "POST", "/v1/chat/completions", chat(2, stream=False), tls=trust)

    assert engine.url.startswith("https://")
    assert status == 200
