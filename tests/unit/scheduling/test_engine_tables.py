"""Each engine's table on pages in that engine's documented form, and on what such pages are feared for."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduling.engines.exposition import BadPage
from scheduling.engines.registry import TABLES
from scheduling.engines.sglang import LOADS
from scheduling.engines.table import NO_SETUP, Blind, Reading, Setup

FAKES = Path(__file__).parents[2] / "fakes"


def text(name: str) -> str:
    return (FAKES / name).read_text()


def read(engine: str, page: str) -> Reading:
    return TABLES[engine].read(page)


@pytest.mark.parametrize(
    ("engine", "name", "load", "setup"),
    [
        ("vllm", "recorded/vllm_0.32.0_busy.txt", (4, 6), Setup(None, 131072)),
        ("vllm", "documented/vllm_legacy_metrics.txt", (8, 2), Setup(None, 2048 * 16)),
        ("vllm", "documented/vllm_ray_metrics.txt", (7, 3), Setup(None, 3200)),
        ("sglang", "documented/sglang_metrics.txt", (262, 3), Setup(None, 2 * 471258)),
        ("tgi", "documented/tgi_metrics.txt", (4, 7), NO_SETUP),
        ("llamacpp", "recorded/llamacpp_0.3.36_busy.txt", (3, 3), NO_SETUP),
        ("triton", "documented/triton_metrics.txt", (5, 3), Setup(512, 6239 * 64)),
        ("trtllm", "documented/trtllm_metrics.txt", (3, 2), Setup(256, 32000)),
        ("nim", "documented/nim_metrics.txt", (5, 1), Setup(2048, None)),
        ("nim", "documented/nim_vllm_metrics.txt", (3, 2), Setup(1024, None)),
        ("lmdeploy", "documented/lmdeploy_metrics.txt", (11, 5), NO_SETUP),
    ],
)
def test_every_engine_tells_its_load_and_its_size(
    engine: str, name: str, load: tuple[int, int], setup: Setup
) -> None:
    reading = read(engine, text(name))

    assert (reading.running, reading.waiting) == load
    assert reading.setup == setup


@pytest.mark.parametrize(
    ("engine", "name", "kv_usage", "work", "token_time"),
    [
        ("vllm", "vllm_legacy_metrics.txt", 0.75, None, (4.0, 200.0)),
        ("vllm", "vllm_ray_metrics.txt", 0.4, None, None),
        ("sglang", "sglang_metrics.txt", 0.71, 7557572, None),
        ("tgi", "tgi_metrics.txt", None, 8123, (1.1, 44.0)),
        ("triton", "triton_metrics.txt", 0.4875, None, None),
        ("trtllm", "trtllm_metrics.txt", 0.62, None, (0.8, 40.0)),
        ("nim", "nim_metrics.txt", 0.15, 997, (1.705470085144043, 963.0)),
        ("lmdeploy", "lmdeploy_metrics.txt", 0.5, 120, (2.5, 100.0)),
    ],
)
def test_every_engine_tells_its_memory_its_work_and_its_token_times(
    engine: str, name: str, kv_usage: float | None, work: int | None, token_time: tuple[float, float] | None
) -> None:
    reading = read(engine, text(f"documented/{name}"))

    assert (reading.kv_usage, reading.work_total, reading.token_time) == (kv_usage, work, token_time)


def test_an_old_vllm_counts_its_preemptions() -> None:
    assert read("vllm", text("documented/vllm_legacy_metrics.txt")).preemptions_total == 3


def test_ranks_that_share_one_batch_are_counted_once() -> None:
    reading = read(
        "sglang",
        'sglang:num_running_reqs{dp_rank="0",tp_rank="0",pp_rank="0"} 4\n'
        'sglang:num_running_reqs{dp_rank="0",tp_rank="1",pp_rank="1"} 5\n'
        'sglang:num_running_reqs{dp_rank="1",tp_rank="0",pp_rank="0"} 2\n',
    )

    assert reading.running == 7


def test_requests_that_wait_for_their_grammar_do_not_wait_for_room() -> None:
    assert read("sglang", text("documented/sglang_metrics.txt")).waiting == 3


def test_sglangs_loads_say_what_its_page_says() -> None:
    reading = TABLES["sglang"].read(text("documented/sglang_loads.json"), LOADS)

    assert (reading.running, reading.waiting, reading.kv_usage) == (20, 3, 0.6)
    assert reading.setup == Setup(128, 2 * 471258)
    assert reading.started_at_s is None


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ('{"loads": []}', "names no rank"),
        ("[]", "names no rank"),
        ('{"loads": {"0": 1}}', "names no rank"),
        ('{"loads": [7]}', "no sglang load series"),
        ('{"loads": [{"num_running_reqs": "3", "num_waiting_reqs": true}]}', "no sglang load series"),
        ('{"loads": [{"num_running_reqs": NaN, "num_waiting_reqs": -1}]}', "no sglang load series"),
        (
            '{"loads": [{"num_running_reqs": 0, "num_waiting_reqs": 0, "max_total_num_tokens": 0}]}',
            "not ready: SGLang's rank 0",
        ),
    ],
)
def test_loads_that_say_nothing_are_blind_and_not_idle(page: str, problem: str) -> None:
    with pytest.raises(Blind, match=problem):
        TABLES["sglang"].read(page, LOADS)


@pytest.mark.parametrize("page", ["", "<html>", '{"loads": [', "[" * 100_000])
def test_loads_that_are_no_json_are_a_broken_page(page: str) -> None:
    with pytest.raises(BadPage, match="no JSON"):
        TABLES["sglang"].read(page, LOADS)


@pytest.mark.parametrize(
    ("engine", "page", "name", "setup"),
    [
        ("llamacpp", "/slots", "documented/llamacpp_slots.json", Setup(4, None)),
        ("llamacpp", "/props", "documented/llamacpp_props.json", Setup(4, None)),
        ("tgi", "/info", "documented/tgi_info.json", Setup(128, 32000)),
        ("sglang", "/v1/loads", "documented/sglang_loads.json", Setup(128, 942516)),
    ],
)
def test_pages_of_configuration_tell_the_size(engine: str, page: str, name: str, setup: Setup) -> None:
    table = TABLES[engine]

    (found,) = [one for one in table.setup if one.path == page]
    assert table.read_setup(text(name), found) == setup


@pytest.mark.parametrize(("engine", "page"), [("llamacpp", "[]"), ("llamacpp", "7"), ("tgi", "[]")])
def test_pages_of_configuration_that_say_nothing_tell_no_size(engine: str, page: str) -> None:
    assert TABLES[engine].read_setup(page, TABLES[engine].setup[0]) == NO_SETUP


@pytest.mark.parametrize("value", ["0", "1e300", "NaN", "-1"])
def test_an_absurd_size_is_no_size(value: str) -> None:
    page = f"trtllm_num_requests_running 1\ntrtllm_kv_cache_max_blocks {value}\n"

    reading = read(
        "trtllm", f"{page}trtllm_kv_cache_tokens_per_block 32\ntrtllm_max_batch_size_static {value}\n"
    )

    assert reading.setup == NO_SETUP


@pytest.mark.parametrize(
    "labels",
    ['num_gpu_blocks="None",block_size="16"', 'num_gpu_blocks="-5",block_size="16"', 'block_size="16"'],
)
def test_a_vllm_that_does_not_know_its_blocks_yet_tells_no_size(labels: str) -> None:
    reading = read("vllm", f"vllm:num_requests_running 1\nvllm:cache_config_info{{{labels}}} 1\n")

    assert reading.setup == NO_SETUP


def test_an_absurd_counter_is_not_said() -> None:
    reading = read(
        "vllm",
        "vllm:num_requests_running 1\nvllm:generation_tokens_total 1e300\nvllm:num_preemptions_total 1e17\n"
        "process_start_time_seconds 1e300\n",
    )

    assert (reading.work_total, reading.preemptions_total, reading.started_at_s) == (None, None, None)


@pytest.mark.parametrize("seconds", ["1e300", "3"])
def test_an_absurd_token_time_is_not_said(seconds: str) -> None:
    def at(seconds: str, count: int) -> Reading:
        base = "vllm:inter_token_latency_seconds"
        return read("vllm", f"vllm:num_requests_running 1\n{base}_sum {seconds}\n{base}_count {count}\n")

    mean_s = at(seconds, 11).load("gpu-0", 1.0, before=at("1", 1)).output_token_s

    assert mean_s == (0.2 if seconds == "3" else None)


def test_when_a_counter_began_is_not_the_counter() -> None:
    reading = read(
        "vllm",
        "vllm:num_requests_running 1\n"
        "vllm:generation_tokens_created 1.79e9\nvllm:num_preemptions_created 1.79e9\n",
    )

    assert (reading.work_total, reading.preemptions_total) == (None, None)


def test_a_name_that_begins_with_ours_is_another_one() -> None:
    with pytest.raises(Blind):
        read(
            "vllm",
            'vllm:num_requests_waiting_by_reason{reason="deferred"} 3\nvllm:num_requests_running_max 9\n',
        )


@pytest.mark.parametrize("engine", [name for name, table in TABLES.items() if table.pages])
def test_another_engines_page_is_blind_and_says_the_mend(engine: str) -> None:
    with pytest.raises(Blind, match=f"no {engine} load series; .+"):
        read(engine, "process_start_time_seconds 1.7e9\nup 1\n")
