"""The connect test: what it finds at engines of each kind, and how the command says it."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from scheduling.engines import connect
from tests.fakes.pages import page_engine
from tests.unit.scheduling.connecting import failed, look_at, serve, text

LOAD = ("running", "waiting")


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(connect, "STEP_S", 30)  # none of these engines is silent, but the machine may be slow
    monkeypatch.setattr(connect, "TOTAL_S", 60)
    with page_engine() as engine:
        yield engine


@pytest.mark.parametrize(
    ("kind", "pages", "signals"),
    [
        (
            "vllm",
            {"/metrics": "recorded/vllm_0.32.0_busy.txt"},
            (*LOAD, "kv_usage", "preemptions_total", "work_total", "token_time", "kv_tokens"),
        ),
        (
            "llamacpp",
            {"/metrics": "recorded/llamacpp_0.3.36_busy.txt", "/props": "documented/llamacpp_props.json"},
            (*LOAD, "work_total", "token_time", "max_requests"),
        ),
        (
            "sglang",
            {"/metrics": "documented/sglang_metrics.txt"},
            (*LOAD, "kv_usage", "work_total", "kv_tokens"),
        ),
        (
            "tgi",
            {"/metrics": "documented/tgi_metrics.txt", "/info": "documented/tgi_info.json"},
            (*LOAD, "work_total", "token_time", "max_requests", "kv_tokens"),
        ),
        (
            "triton",
            {"/metrics": "documented/triton_metrics.txt"},
            (*LOAD, "kv_usage", "max_requests", "kv_tokens"),
        ),
        (
            "trtllm",
            {"/prometheus/metrics": "documented/trtllm_metrics.txt"},
            (*LOAD, "kv_usage", "token_time", "max_requests", "kv_tokens"),
        ),
        ("nim", {"/v1/metrics": "documented/nim_vllm_metrics.txt"}, (*LOAD, "max_requests")),
        (
            "lmdeploy",
            {"/metrics": "documented/lmdeploy_metrics.txt"},
            (*LOAD, "kv_usage", "work_total", "token_time"),
        ),
    ],
)
def test_an_engine_is_known_by_its_series(engine, kind: str, pages, signals) -> None:
    serve(engine, {path: text(name) for path, name in pages.items()})

    report = look_at(engine)

    assert (report.engine, report.models, report.signals) == (kind, ("llama",), signals)
    assert report.ok, report.steps
    assert [step.name for step in report.steps] == [
        "address", "name", "connection", "models", "engine", "metrics"
    ]  # fmt: skip
    assert look_at(engine, kind) == report, "and it is the one that was chosen"


@pytest.mark.parametrize(
    ("kind", "pages"),
    [
        ("vllm", {"/version": '{"version": "0.32.0"}'}),
        ("sglang", {"/get_server_info": '{"internal_states": []}', "/version": '{"version": "1"}'}),
        ("tgi", {"/info": '{"max_concurrent_requests": 128}'}),
        ("llamacpp", {"/props": '{"total_slots": 4}'}),
        ("ollama", {"/api/version": '{"version": "0.9.0"}'}),
        ("sglang", {"/v1/models": '{"data": [{"id": "llama", "owned_by": "sglang"}]}'}),
        ("llamacpp", {"/v1/models": text("recorded/llamacpp_0.3.36_models.json")}),
        ("openai", {"/version": "<html>", "/info": "[]"}),
    ],
)
def test_an_engine_without_a_metric_page_is_known_by_what_only_it_has(engine, kind: str, pages) -> None:
    serve(engine, pages)

    assert look_at(engine).engine == kind


def test_an_engine_is_known_by_its_server_header(engine) -> None:
    serve(engine, {}, Server="llama.cpp")

    assert look_at(engine).engine == "llamacpp"


def test_metrics_that_are_switched_off_are_a_failed_step_with_its_mend(engine) -> None:
    serve(engine, {"/props": '{"total_slots": 4}'})

    report = look_at(engine)

    assert failed(report) == ["metrics"]
    assert report.steps[-1].mend == "Start llama-server with --metrics."
    assert report.signals == ()


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_an_engine_that_has_no_metrics_fails_nothing(engine, kind: str) -> None:
    serve(engine, {"/api/version": '{"version": "0.9.0"}'} if kind == "ollama" else {})

    report = look_at(engine, kind)

    assert report.ok
    assert report.steps[-1].detail.startswith("none: ")


def test_another_engine_than_the_chosen_one_is_named(engine) -> None:
    serve(engine, {"/metrics": text("recorded/vllm_0.32.0_busy.txt")})

    report = look_at(engine, "sglang")

    assert failed(report) == ["engine"]
    assert report.steps[4].mend == "Choose vllm as the backend's engine."
    assert "running" in report.signals, "what it tells is still said"


def test_a_chosen_engine_that_says_nothing_of_itself_is_believed(engine) -> None:
    serve(engine, {})

    report = look_at(engine, "tgi")

    assert (report.engine, failed(report)) == ("openai", ["metrics"])
    assert report.steps[-1].mend == "Check that the URL is TGI's own port."


def test_the_command_says_each_step_and_the_mend(engine) -> None:
    serve(engine, {"/metrics": text("recorded/vllm_0.32.0_busy.txt")})
    said, told = io.StringIO(), io.StringIO()

    call_command("backend", "test", engine.url, stdout=said)
    call_command("backend", "test", engine.url, "--engine", "vllm", "--json", stdout=told)

    assert "ok      engine      vllm" in said.getvalue()
    page = json.loads(told.getvalue())
    assert (page["ok"], page["engine"], page["models"]) == (True, "vllm", ["llama"])
    assert page["steps"][0] == {
        "name": "address",
        "ok": True,
        "detail": page["steps"][0]["detail"],
        "mend": "",
    }


def test_the_command_fails_when_a_step_does(engine, tmp_path) -> None:
    serve(engine, {"/v1/models": 401})
    said = io.StringIO()

    with pytest.raises(CommandError, match="cannot be used"):
        call_command("backend", "test", engine.url, stdout=said)
    with pytest.raises(CommandError, match=r"--ca .*missing\.pem"):
        call_command("backend", "test", engine.url, "--ca", str(tmp_path / "missing.pem"))

    assert "Give the engine's API key" in said.getvalue()


def test_the_api_key_comes_from_the_environment_and_never_by_the_command_line(engine, monkeypatch) -> None:
    serve(engine, {"/metrics": text("recorded/vllm_0.32.0_busy.txt")})
    monkeypatch.setenv("GPU_KEY", "engine-key")
    call_command("backend", "test", engine.url, "--api-key-env", "GPU_KEY", stdout=io.StringIO())

    sent = {name.lower(): value for _, _, headers in engine.requests for name, value in headers.items()}
    assert sent["authorization"] == "Bearer engine-key"
    with pytest.raises(CommandError, match="--api-key-env: the environment variable NONE_SUCH is empty"):
        call_command("backend", "test", engine.url, "--api-key-env", "NONE_SUCH", stdout=io.StringIO())
