"""What a vLLM that is not ours says and does, read by our own parts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import openai
import pytest
import urllib3

from gateway.sse import SseScanner
from scheduling.core.usage import Usage

pytestmark = pytest.mark.real_engine
SEATS = 4  # run_vllm.sh gives the engine this --max-num-seqs
PROMPT = [{"role": "user", "content": "each tenant takes its turn"}]


@pytest.fixture
def client(engine_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine_url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


@contextmanager
def streaming(client: openai.OpenAI, tokens: int, **extra):
    """An open stream; leaving the block hangs up."""
    with client.chat.completions.create(
        model="tiny",
        messages=PROMPT,
        max_tokens=tokens,
        stream=True,
        extra_body={"ignore_eos": True, **extra},
    ) as stream:
        yield stream


def wait_for(read, right, patience_s: float = 10.0):
    ends_s = time.monotonic() + patience_s
    while not right(load := read()) and time.monotonic() < ends_s:
        time.sleep(0.1)
    return load


def busy(client: openai.OpenAI, tokens: int, **extra) -> threading.Thread:
    def run() -> None:
        with streaming(client, tokens, **extra) as stream:
            for _ in stream:
                pass

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_engines_queue_is_read_while_it_is_full(client, read) -> None:
    assert (read().running, read().waiting, read().error) == (0, 0, "")

    threads = [busy(client, 300) for _ in range(SEATS + 5)]
    load = wait_for(read, lambda load: load.waiting == 5)
    later = wait_for(read, lambda now: now.work_total > load.work_total)
    for thread in threads:
        thread.join()

    assert (load.running, load.waiting, load.error) == (SEATS, 5, "")
    assert 0 < load.kv_usage < 1
    assert 0 < later.output_token_s < 1
    assert load.started_at_s < time.time()
    assert wait_for(read, lambda load: load.running == 0).waiting == 0


def test_a_stream_ends_with_usage_and_done(engine_url) -> None:
    usage, tokens = Usage(), []
    scanner = SseScanner(usage, lambda: tokens.append(1), strip_usage=False, event_bytes=1 << 20)
    body = {
        "model": "tiny",
        "messages": PROMPT,
        "max_tokens": 16,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    answer = urllib3.request(
        "POST", f"{engine_url}/v1/chat/completions", json=body, preload_content=False, timeout=60
    )
    passed = b"".join(scanner.feed(piece) for piece in answer.stream(512))
    answer.release_conn()

    assert passed.endswith(b"data: [DONE]\n\n")
    assert scanner.done
    assert (usage.completion_tokens, usage.estimated) == (16, False)
    assert usage.prompt_tokens > 0
    assert tokens == [1]


def test_a_client_that_leaves_frees_the_engine(client, read) -> None:
    with ExitStack() as streams:
        for _ in range(SEATS + 3):
            streams.enter_context(streaming(client, 1500))
        assert wait_for(read, lambda load: load.waiting == 3).running == SEATS
    left_s = time.monotonic()

    load = wait_for(read, lambda load: not load.running and not load.waiting)

    assert (load.running, load.waiting) == (0, 0)
    assert time.monotonic() - left_s < 5


def test_a_lower_priority_number_overtakes_those_that_wait(client, read) -> None:
    order: list[str] = []

    def run(name: str, tokens: int, priority: int) -> threading.Thread:
        def work() -> None:
            with streaming(client, tokens, priority=priority) as stream:
                for _ in stream:
                    pass
            order.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    threads = [run(f"first-{n}", 200, 10) for n in range(SEATS)]
    wait_for(read, lambda load: load.running == SEATS)
    threads += [run(f"later-{n}", 200, 10) for n in range(SEATS)]
    wait_for(read, lambda load: load.waiting == SEATS)
    threads.append(run("urgent", 20, 0))
    for thread in threads:
        thread.join()

    assert order.index("urgent") <= SEATS
    assert min(order.index(f"later-{n}") for n in range(SEATS)) > order.index("urgent")


@pytest.mark.parametrize(
    ("change", "status"),
    [({"model": "no-such-model"}, 404), ({"max_tokens": 1_000_000}, 400), ({"messages": "text"}, 400)],
)
def test_errors_have_the_shape_of_openais(client, change, status) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{"model": "tiny", "messages": PROMPT, "max_tokens": 4, **change})

    assert caught.value.status_code == status
    assert caught.value.body["message"]
