"""Metric pages, recorded from real engines and broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduling.core.policy import ENGINES
from scheduling.engines import exposition
from scheduling.engines.exposition import BadPage, parse, total
from scheduling.engines.registry import TABLES, table_for
from scheduling.engines.table import Blind

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded"


def page(name: str) -> str:
    return (RECORDED / name).read_text()


def vllm(*lines: str) -> str:
    return "\n".join(("vllm:num_requests_running 1", *lines))


def test_a_busy_vllm_tells_its_queue() -> None:
    reading = TABLES["vllm"].read(page("vllm_0.32.0_busy.txt"))

    assert (reading.running, reading.waiting) == (4, 6)
    assert reading.kv_usage == pytest.approx(0.0039, abs=1e-4)
    assert reading.work_total == 345
    assert reading.preemptions_total == 0
    assert reading.started_at_s == pytest.approx(1795434941.47)


def test_an_idle_vllm_says_zero_and_not_nothing() -> None:
    reading = TABLES["vllm"].read(page("vllm_0.32.0_idle.txt"))

    assert (reading.running, reading.waiting) == (0, 0)


def test_a_vllm_without_log_stats_is_blind_and_not_idle() -> None:
    with pytest.raises(Blind, match=r"blind.*without --disable-log-stats"):
        TABLES["vllm"].read(page("vllm_0.32.0_blind.txt"))


def test_a_busy_llama_server_tells_its_queue() -> None:
    reading = TABLES["llamacpp"].read(page("llamacpp_0.3.36_busy.txt"))

    assert (reading.running, reading.waiting) == (3, 3)
    assert reading.work_total == 404
    assert reading.token_time == (14.3317, 804)


def test_the_time_per_output_token_is_a_mean_between_two_readings() -> None:
    table = TABLES["vllm"]
    idle, busy = table.read(page("vllm_0.32.0_idle.txt")), table.read(page("vllm_0.32.0_busy.txt"))

    mean_s = busy.load("gpu-0", 1.0, before=idle).output_token_s

    assert mean_s == pytest.approx(0.011, abs=0.001)
    assert busy.load("gpu-0", 1.0, before=None).output_token_s is None
    assert idle.load("gpu-0", 1.0, before=busy).output_token_s is None, "a restart gives no mean"


def test_every_engine_of_the_policy_has_a_table() -> None:
    assert set(TABLES) >= set(ENGINES)
    assert table_for("something new").pages == ()


def test_requests_deferred_for_other_reasons_do_not_count_as_waiting_for_room() -> None:
    by_reason = "vllm:num_requests_waiting_by_reason"
    reading = TABLES["vllm"].read(
        vllm(
            "vllm:num_requests_waiting 7",
            f'{by_reason}{{reason="capacity"}} 2',
            f'{by_reason}{{reason="deferred"}} 5',
        )
    )
    assert reading.waiting == 2


def test_ranks_are_summed_and_the_fullest_memory_counts() -> None:
    reading = TABLES["vllm"].read(
        'vllm:num_requests_running{engine="0"} 3\n'
        'vllm:num_requests_running{engine="1"} 4\n'
        'vllm:kv_cache_usage_perc{engine="0"} 0.2\n'
        'vllm:kv_cache_usage_perc{engine="1"} 0.9\n'
    )
    assert (reading.running, reading.kv_usage) == (7, 0.9)


def test_ray_spells_names_with_an_underscore_and_old_vllm_calls_its_memory_gpu_cache() -> None:
    reading = TABLES["vllm"].read("vllm_num_requests_running 2\nvllm:gpu_cache_usage_perc 0.5\n")

    assert (reading.running, reading.kv_usage) == (2, 0.5)


def test_names_match_exactly() -> None:
    samples = parse(
        "tgi_queue_size_created 1.7e9\ntgi_queue_size_max 9\ntgi_queue_size 1", {"tgi_queue_size"}
    )

    assert [sample.value for sample in samples] == [1.0]


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "-Inf", "1e12"])
def test_an_absurd_figure_is_no_figure(value: str) -> None:
    reading = TABLES["vllm"].read(vllm(f"vllm:num_requests_waiting {value}"))

    assert reading.waiting is None


def test_a_page_with_nothing_but_absurd_figures_is_blind() -> None:
    with pytest.raises(Blind):
        TABLES["vllm"].read("vllm:num_requests_running NaN\nvllm:num_requests_waiting -3\n")


def test_memory_over_full_is_no_figure() -> None:
    assert TABLES["vllm"].read(vllm("vllm:kv_cache_usage_perc 37.5")).kv_usage is None


@pytest.mark.parametrize(
    "line",
    [
        "<html><body>gateway error</body></html>",
        'vllm:num_requests_waiting{engine="0',
        "vllm:num_requests_waiting{engine=0} 4",
        "vllm:num_requests_waiting four",
        "vllm:num_requests_waiting",
        "vllm:num_requests_waiting " + "9" * 9000,
        "vllm:num_requests_waiting " + "9" * 400,  # a whole number that no float holds
        "vllm:num_requests_waiting 4 " + "9" * 400,
    ],
)
def test_a_broken_line_is_an_error_that_quotes_it(line: str) -> None:
    with pytest.raises(BadPage, match=r"broken page.*" + line[:4]):
        TABLES["vllm"].read(vllm(line))


def test_a_page_cut_off_in_the_middle_is_an_error() -> None:
    whole = page("vllm_0.32.0_busy.txt")
    cut = whole[: whole.index("vllm:num_requests_waiting{") + len('vllm:num_requests_waiting{engine="0"')]

    with pytest.raises(BadPage):
        TABLES["vllm"].read(cut)


def test_a_page_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MAX_PAGE_BYTES", 1000)
    with pytest.raises(BadPage, match="more than 1000 bytes"):
        parse("a 1\n" * 500, {"a"})

    monkeypatch.setattr(exposition, "MAX_PAGE_BYTES", 10_000)
    monkeypatch.setattr(exposition, "MAX_LINES", 100)
    with pytest.raises(BadPage, match="more than 100 lines"):
        parse("a 1\n" * 500, {"a"})


def test_a_timestamp_or_an_exemplar_does_not_change_the_value() -> None:
    samples = parse('a 1 1700000000000\nb{x="1"} 2 # {trace="7"} 0.5\n# EOF\n', {"a", "b"})

    assert (total(samples, "a"), total(samples, "b"), total(samples, "c")) == (1.0, 2.0, None)
