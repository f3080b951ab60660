"""The connect test where something is wrong: each step says what, and what to mend, in its time."""

from __future__ import annotations

import socket
import time

import pytest

from scheduling.engines import addresses, connect
from scheduling.engines.endpoint import Endpoint
from tests.fakes.certificates import certificate
from tests.fakes.pages import page_engine
from tests.unit.scheduling.connecting import failed, look_at, serve


@pytest.fixture
def engine():
    with page_engine() as engine:
        yield engine


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        (401, "API key"),
        (404, "without /v1"),
        (503, "loading"),
        (500, "OpenAI API"),
        ("<html>", "OpenAI API"),
        ('{"data": {}}', "OpenAI API"),
        ('{"data": []}', "Load a model"),
    ],
)
def test_models_that_cannot_be_listed_say_what_to_mend(engine, said, mend: str) -> None:
    serve(engine, {"/v1/models": said})

    report = look_at(engine, "openai")

    assert failed(report) == ["models"]
    assert mend in report.steps[3].mend


def test_the_key_the_host_and_the_base_path_go_along(engine) -> None:
    serve(engine, {})

    look_at(engine, url=f"{engine.url}/team/a/", api_key="s3cret")

    asked = [(path, headers["Authorization"], headers["Host"]) for _, path, headers in engine.requests]
    assert asked[0] == ("/team/a/v1/models", "Bearer s3cret", engine.url.removeprefix("http://"))
    assert len(asked) == len({path for path, *_ in asked}), "each path is asked once"


def test_a_redirect_is_not_followed(engine) -> None:
    with page_engine() as elsewhere:
        engine.answer = lambda handler: handler.say("", 302, Location=f"{elsewhere.url}/v1/models")

        assert "models" in failed(look_at(engine))
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "url",
    ["ftp://gpu", "gpu:8000", "http://", "http://ada:pw@gpu", "http://gpu:x", "http://[::1", "http://g\npu"],
)
def test_what_is_no_address_is_said_before_anybody_is_asked(url: str) -> None:
    report = connect.test(Endpoint("new", url, connect.DETECT))

    assert failed(report) == ["address"]
    assert "http://host:port" in report.steps[-1].mend
    assert "pw" not in report.steps[-1].detail


def test_a_name_that_nobody_knows_is_a_failed_step() -> None:
    report = connect.test(Endpoint("new", "http://no-such-engine.invalid", connect.DETECT))

    assert failed(report) == ["name"]
    assert "spelling" in report.steps[-1].mend


def test_where_nobody_listens_the_connection_fails() -> None:
    with page_engine() as closed:
        pass

    report = look_at(closed)

    assert failed(report) == ["connection"]
    assert (report.engine, report.models) == ("", ())
    assert "firewall" in report.steps[-1].mend


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"])
def test_a_name_that_leads_to_a_link_local_address_is_refused(engine, monkeypatch, address: str) -> None:
    monkeypatch.setattr(addresses, "resolved", lambda host, port: [address])
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))

    report = look_at(engine)

    assert failed(report) == ["name"]
    assert "FAIRLANE_LINK_LOCAL_BACKENDS" in report.steps[-1].mend


def test_what_was_checked_is_what_is_asked(engine, monkeypatch) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    monkeypatch.setattr(addresses, "resolved", lambda host, port: next(answers))
    serve(engine, {})

    assert look_at(engine, url=engine.url.replace("127.0.0.1", "gpu.example")).models == ("llama",)


def test_only_a_trusted_certificate_passes(tmp_path) -> None:
    own, other = certificate("127.0.0.1"), certificate("127.0.0.1")
    with page_engine(own.server_side(tmp_path)) as engine:
        serve(engine, {})
        trusted, stranger = look_at(engine, ca_pem=own.pem), look_at(engine, ca_pem=other.pem)
        nonsense = look_at(engine, ca_pem="nonsense")

    assert trusted.ok
    assert trusted.models == ("llama",)
    assert [step.name for step in trusted.steps][3] == "TLS"
    assert failed(stranger) == failed(nonsense) == ["TLS"]
    assert "ca_pem" in stranger.steps[-1].mend
    assert "PEM" in nonsense.steps[-1].mend


def test_a_certificate_for_another_name_does_not_pass(tmp_path, monkeypatch) -> None:
    own = certificate("other.example")
    monkeypatch.setattr(addresses, "resolved", lambda host, port: ["127.0.0.1"])
    with page_engine(own.server_side(tmp_path)) as engine:
        url = engine.url.replace("127.0.0.1", "gpu.example")

        assert failed(look_at(engine, url=url, ca_pem=own.pem)) == ["TLS"]


def test_tls_where_none_is_spoken_fails(engine) -> None:
    report = look_at(engine, url=engine.url.replace("http:", "https:"))

    assert failed(report) == ["TLS"]
    assert "http://" in report.steps[-1].mend


@pytest.mark.parametrize("where", ["body", "headers"])
def test_an_engine_that_drips_is_left_behind_in_time(engine, monkeypatch, where: str) -> None:
    monkeypatch.setattr(connect, "TOTAL_S", 0.5)

    def drip(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if where == "body" else b""))
        while not engine.released.wait(0.05):
            handler.wfile.write(b"X: y\r\n")

    engine.answer = drip
    began_s = time.monotonic()

    report = look_at(engine)

    assert time.monotonic() - began_s < 3
    assert not report.ok
    assert report.steps[3].name == "models"


def test_a_resolver_that_hangs_is_left_behind_in_time(engine, monkeypatch) -> None:
    monkeypatch.setattr(connect, "TOTAL_S", 0.2)
    monkeypatch.setattr(addresses, "resolved", lambda *_: ["127.0.0.1"] * engine.released.wait(5))

    report = look_at(engine)

    assert failed(report) == ["name"]
    assert report.steps[-1].detail == "no answer within 0.2 s"
