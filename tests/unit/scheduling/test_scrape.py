"""Reading engines over HTTP: what each kind of silence is called."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from scheduling.engines import fetch, scrape
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.registry import table_for
from scheduling.engines.table import Page
from tests.fakes.certificates import certificate
from tests.fakes.pages import page_engine, vllm_page

TIMEOUT_S = 2.0  # far more than a page takes on a busy machine


@pytest.fixture
def engine():
    with page_engine() as engine:
        yield engine


def endpoint(at, **more) -> Endpoint:
    return Endpoint("gpu-0", **{"url": at.url, "engine": "vllm", **more})


def test_a_reading_says_what_the_page_says(scraper, engine) -> None:
    engine.page = vllm_page(running=4, waiting=6, work=345)

    load = scraper.read(endpoint(engine), TIMEOUT_S)

    assert (load.running, load.waiting, load.work_total, load.error) == (4, 6, 345, "")
    assert load.read_at_s == pytest.approx(time.time(), abs=5)


def test_the_api_key_and_the_base_path_go_along(scraper, engine) -> None:
    scraper.read(endpoint(engine, url=f"{engine.url}/engines/a", api_key="s3cret"), TIMEOUT_S)

    _, path, headers = engine.requests[0]
    assert path == "/engines/a/metrics"
    assert headers["Authorization"] == "Bearer s3cret"


def test_connections_are_kept_between_readings(scraper, engine) -> None:
    for _ in range(3):
        scraper.read_all([endpoint(engine)], TIMEOUT_S)

    assert len({port for port, *_ in engine.requests}) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, "metrics are switched off (404); start vLLM without --disable-log-stats"),
        (401, "the engine refuses our API key for its metrics (401)"),
        (500, "the engine answered 500 for its metrics"),
        (302, "the engine redirects its metrics elsewhere (302); give the final URL"),
    ],
)
def test_an_answer_that_is_no_page_says_what_to_do(scraper, engine, status: int, error: str) -> None:
    engine.answer = lambda handler: handler.say("", status, Location=f"{engine.url}/elsewhere")

    load = scraper.read(endpoint(engine), TIMEOUT_S)

    assert load.error == error
    assert (load.running, load.waiting) == (None, None)
    assert len(engine.requests) == 1, "a redirect is not followed, an error is not retried"


def test_a_page_without_known_series_is_blind(scraper, engine) -> None:
    engine.page = "python_info 1\n"

    assert scraper.read(endpoint(engine), TIMEOUT_S).error.startswith(
        "blind: the page has no vllm load series"
    )


def test_a_broken_page_is_an_error(scraper, engine) -> None:
    engine.page = "<html>"

    assert scraper.read(endpoint(engine), TIMEOUT_S).error.startswith("broken page: line 1")


def test_a_page_that_our_own_code_stumbles_over_is_an_error_of_its_engine_alone(
    scraper, engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_args) -> None:
        raise ZeroDivisionError("who would have thought")

    odd = replace(table_for("vllm"), pages=(Page("/metrics", stumble),))
    monkeypatch.setattr(scrape, "table_for", lambda engine: odd if engine == "vllm" else table_for(engine))

    load, other = scraper.read_all([endpoint(engine), Endpoint("gpu-1", engine.url, "openai")], TIMEOUT_S)

    assert load.error.startswith("broken page: ZeroDivisionError")
    assert (other.backend, other.error) == ("gpu-1", "")


def test_an_engine_that_hangs_is_a_timeout(scraper, engine) -> None:
    engine.answer = lambda handler: engine.released.wait(5)

    assert scraper.read(endpoint(engine), 0.1).error == "timeout: no page within 0.1 s"


def test_a_page_that_drips_is_a_timeout_and_is_not_waited_for(scraper, engine) -> None:
    def drip(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not engine.released.wait(0.02):
            handler.wfile.write(b"a 1\n")

    engine.answer = drip
    began_s = time.monotonic()

    load = scraper.read(endpoint(engine), 0.1)

    assert load.error.startswith("timeout: ")
    assert time.monotonic() - began_s < 2


def test_headers_that_drip_hold_up_nobody(scraper, engine) -> None:
    def drip(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not engine.released.wait(0.05):
            handler.wfile.write(b"X: y\r\n")

    engine.answer = drip
    with page_engine() as healthy:
        healthy.page = vllm_page(running=1)
        endpoints = [endpoint(engine), Endpoint("gpu-1", healthy.url, "vllm")]
        for _ in range(2):
            slow, good = scraper.read_all(endpoints, 0.5)

            assert slow.error == "timeout: no page within 0.5 s"
            assert good.running == 1
    assert len(engine.requests) == 1, "no second thread is spent on it"


def test_a_page_without_end_is_cut_off(scraper, engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_PAGE_BYTES", 1000)
    engine.page = "a 1\n" * 500

    assert scraper.read(endpoint(engine), TIMEOUT_S).error == "page too big: more than 1000 bytes"


def test_nobody_listening_is_unreachable(scraper, engine) -> None:
    with page_engine() as closed:
        gone = Endpoint("gpu-9", closed.url, "vllm")

    error = scraper.read(gone, TIMEOUT_S).error

    assert error.startswith("unreachable: ")
    assert "Connection refused" in error


def test_a_chunked_page_is_read(scraper, engine) -> None:
    def chunked(handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in vllm_page(running=2).encode().splitlines(keepends=True):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        handler.wfile.write(b"0\r\n\r\n")

    engine.answer = chunked

    assert scraper.read(endpoint(engine), TIMEOUT_S).running == 2


def test_silent_engines_cost_one_timeout_together(scraper, engine) -> None:
    engine.answer = lambda handler: engine.released.wait(5)
    began_s = time.monotonic()

    loads = scraper.read_all([Endpoint(f"gpu-{n}", engine.url, "vllm") for n in range(8)], 0.1)

    assert [load.backend for load in loads] == [f"gpu-{n}" for n in range(8)]
    assert all(load.error.startswith("timeout") for load in loads)
    assert time.monotonic() - began_s < 1.5


def test_only_the_given_ca_is_trusted(scraper, tmp_path) -> None:
    own, other = certificate("127.0.0.1"), certificate("127.0.0.1")

    with page_engine(own.server_side(tmp_path)) as engine:
        trusted = scraper.read(endpoint(engine, ca_pem=own.pem), 1.0)
        stranger = scraper.read(endpoint(engine, ca_pem=other.pem), 1.0)
        system = scraper.read(endpoint(engine), 1.0)

    assert (trusted.running, trusted.error) == (0, "")
    assert stranger.error.startswith("TLS failed")
    assert system.error.startswith("TLS failed")


def test_a_ca_that_is_no_certificate_is_named(scraper, engine) -> None:
    assert "ca_pem" in scraper.read(endpoint(engine, ca_pem="nonsense"), TIMEOUT_S).error
