"""Which pages of an engine are asked, and what it means when nobody answers."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from scheduling.engines import scrape
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.exposition import MAX_PAGE_BYTES
from tests.fakes.pages import page_engine, vllm_page

TIMEOUT_S = 2.0
FAKES = Path(__file__).parents[2] / "fakes"
BIG_PIECE = b"a 1\n" * 16384


def text(name: str) -> str:
    return (FAKES / name).read_text()


@pytest.fixture
def engine():
    with page_engine() as engine:
        yield engine


def serve(engine, **pages: str | int) -> None:
    """Answer these paths (``v1_loads`` is /v1/loads) with a text or a status, all others with 404."""
    found = {f"/{path.replace('_', '/')}": said for path, said in pages.items()}

    def answer(handler) -> None:
        said = found.get(handler.path, 404)
        handler.say(said) if isinstance(said, str) else handler.say("", said)

    engine.answer = answer


def asked(engine) -> list[str]:
    paths = [path for _, path, _ in engine.requests]
    engine.requests.clear()
    return paths


def at(engine, kind: str) -> Endpoint:
    return Endpoint("gpu-0", engine.url, kind)


def test_sglang_without_its_metric_page_is_read_by_its_loads(scraper, engine) -> None:
    serve(engine, v1_loads=text("documented/sglang_loads.json"))

    loads = [scraper.read(at(engine, "sglang"), TIMEOUT_S) for _ in range(2)]

    assert [(load.running, load.waiting, load.error) for load in loads] == [(20, 3, "")] * 2
    assert (loads[1].max_requests, loads[1].kv_tokens) == (128, 942516)
    paths = asked(engine)
    assert paths[:2] == ["/metrics", "/v1/loads"]
    assert paths.count("/metrics") == 1, "what is switched off is not asked each second"


def test_the_better_page_is_tried_again_after_a_while(scraper, engine, monkeypatch) -> None:
    monkeypatch.setattr(scrape, "FIRST_PAGE_EVERY_S", 0.0)
    serve(engine, v1_loads=text("documented/sglang_loads.json"))
    scraper.read(at(engine, "sglang"), TIMEOUT_S)
    serve(engine, metrics=text("documented/sglang_metrics.txt"))

    assert scraper.read(at(engine, "sglang"), TIMEOUT_S).running == 262


def test_sglang_with_neither_page_says_what_to_switch_on(scraper, engine) -> None:
    serve(engine)

    load = scraper.read(at(engine, "sglang"), TIMEOUT_S)

    assert load.error == "metrics are switched off (404); start SGLang with --enable-metrics"
    assert (load.running, load.waiting, load.down) == (None, None, False)


def test_a_second_page_in_another_form_does_not_hide_what_is_switched_off(scraper, engine) -> None:
    serve(engine, metrics='[{"numActiveRequests": 0}]')

    assert scraper.read(at(engine, "trtllm"), TIMEOUT_S).error.endswith("return_perf_metrics: true")


def test_an_sglang_that_is_not_ready_is_not_idle(scraper, engine) -> None:
    serve(engine, v1_loads='{"loads": [{"num_running_reqs": 0, "max_total_num_tokens": 0}]}')

    load = scraper.read(at(engine, "sglang"), TIMEOUT_S)

    assert load.error.startswith("not ready")
    assert load.running is None


def test_nim_is_read_where_nim_has_its_metrics(scraper, engine) -> None:
    serve(engine, v1_metrics=text("documented/nim_metrics.txt"))

    load = scraper.read(at(engine, "nim"), TIMEOUT_S)

    assert (load.running, load.waiting, load.max_requests) == (5, 1, 2048)


def test_a_configuration_is_asked_once_and_again_when_the_process_is_another(scraper, engine) -> None:
    page, slots = text("recorded/llamacpp_0.3.36_busy.txt"), text("documented/llamacpp_slots.json")
    serve(engine, metrics=f"process_start_time_seconds 1\n{page}", slots=slots)
    loads = [scraper.read(at(engine, "llamacpp"), TIMEOUT_S) for _ in range(3)]
    assert [load.max_requests for load in loads] == [4, 4, 4]
    assert asked(engine) == ["/metrics", "/props", "/slots", "/metrics", "/metrics"]

    serve(engine, metrics=f"process_start_time_seconds 9\n{page}", slots="[{}, {}]")

    assert scraper.read(at(engine, "llamacpp"), TIMEOUT_S).max_requests == 2


def test_after_a_failed_reading_the_configuration_is_asked_again(scraper, engine) -> None:
    page = text("recorded/llamacpp_0.3.36_busy.txt")
    serve(engine, metrics=page, slots="[{}]")
    scraper.read(at(engine, "llamacpp"), TIMEOUT_S)
    serve(engine, metrics=503)
    scraper.read(at(engine, "llamacpp"), TIMEOUT_S)
    serve(engine, metrics=page, props='{"total_slots": 3}')

    assert scraper.read(at(engine, "llamacpp"), TIMEOUT_S).max_requests == 3


def test_a_configuration_that_cannot_be_read_takes_nothing_from_the_load(scraper, engine) -> None:
    serve(engine, metrics=text("recorded/llamacpp_0.3.36_busy.txt"), props="<html>", slots=501)

    load = scraper.read(at(engine, "llamacpp"), TIMEOUT_S)

    assert (load.running, load.max_requests, load.error) == (3, None, "")


def test_a_configuration_that_hangs_costs_the_load_nothing(scraper, engine) -> None:
    def answer(handler) -> None:
        if handler.path == "/metrics":
            handler.say(text("recorded/llamacpp_0.3.36_busy.txt"))
        else:
            engine.released.wait(5)

    engine.answer = answer

    (load,) = scraper.read_all([at(engine, "llamacpp")], 0.5)

    assert (load.running, load.max_requests, load.error) == (3, None, "")


@pytest.mark.parametrize(("kind", "path"), [("openai", "/v1/models"), ("ollama", "/api/version")])
def test_an_engine_without_metrics_is_asked_whether_it_is_there(
    scraper, engine, kind: str, path: str
) -> None:
    for status in (200, 401, 404, 500):
        engine.answer = lambda handler, status=status: handler.say("{}", status)

        load = scraper.read(at(engine, kind), TIMEOUT_S)

        assert (load.error, load.running, load.waiting, load.down) == ("", None, None, False)
    assert asked(engine) == [path] * 4


@pytest.mark.parametrize("kind", ["openai", "vllm"])
def test_where_nobody_listens_the_engine_is_down(scraper, kind: str) -> None:
    with page_engine() as closed:
        gone = at(closed, kind)

    load = scraper.read(gone, TIMEOUT_S)

    assert load.down
    assert load.error.startswith("unreachable: ")


@pytest.mark.parametrize("kind", ["openai", "vllm"])
def test_a_name_that_nobody_knows_is_down(scraper, kind: str) -> None:
    load = scraper.read(Endpoint("gpu-0", "http://no-such-engine.invalid:1", kind), TIMEOUT_S)

    assert (load.down, load.error[:13]) == (True, "unreachable: ")


def test_silence_is_not_down(scraper, engine) -> None:
    engine.answer = lambda handler: engine.released.wait(5)

    page, probe = (scraper.read(at(engine, kind), 0.1) for kind in ("vllm", "openai"))

    assert (page.down, page.error[:8]) == (False, "timeout:")
    assert (probe.down, probe.error) == (False, "")


def test_another_address_is_another_engine(scraper, engine) -> None:
    base = "vllm:inter_token_latency_seconds"
    with page_engine() as other:
        for at_s, one in enumerate((engine, other), start=1):
            one.page = f"{vllm_page()}{base}_sum {at_s}\n{base}_count {at_s * 10}\n"
        scraper.read(at(engine, "vllm"), TIMEOUT_S)

        assert scraper.read(at(other, "vllm"), TIMEOUT_S).output_token_s is None


def test_an_address_that_hangs_does_not_answer_for_the_one_that_took_its_place(scraper, engine) -> None:
    engine.answer = lambda handler: engine.released.wait(TIMEOUT_S)
    with page_engine() as other:
        other.page = vllm_page(running=7)
        before = scraper.begin(at(engine, "vllm"), TIMEOUT_S)

        now = scraper.begin(at(other, "vllm"), TIMEOUT_S)

        assert (now.result(TIMEOUT_S).running, now is before) == (7, False)


def test_a_page_of_fifty_megabytes_costs_a_few(scraper, engine) -> None:
    sent = []

    def flood(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(50 * 1024 * 1024))
        handler.end_headers()
        for _ in range(50 * 16):
            sent.append(handler.wfile.write(BIG_PIECE))

    engine.answer = flood
    tracemalloc.start()
    load = scraper.read(at(engine, "vllm"), 5.0)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert load.error == f"page too big: more than {MAX_PAGE_BYTES} bytes"
    assert (load.running, load.down) == (None, False)
    assert peak_bytes < 3 * MAX_PAGE_BYTES
    assert sum(sent) < 4 * MAX_PAGE_BYTES
