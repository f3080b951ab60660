"""Workloads by name are the same for a seed, have the shapes they claim, and can be read from traces."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import mean, pstdev

import pytest

from scheduling.simulation.metrics import measure
from scheduling.simulation.scenario import Scenario
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads import WORKLOADS, Overrides, make
from scheduling.simulation.workloads.generate import Pace, dice
from scheduling.simulation.workloads.traces import read_trace

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SHORT = Overrides(seconds=12)


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_workload_plays_to_its_end_with_an_outcome_for_each_request(name):
    workload = make(name, 1, SHORT)
    result = measure(play(Scenario(workload)))

    assert workload.name == name
    assert result.requests > 5
    assert result.requests == len(workload.arrivals) or workload.clients
    assert "unfinished" not in result.outcomes
    assert result.over_limit == 0


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_seed_gives_one_workload_and_another_seed_another(name):
    assert make(name, 3, SHORT) == make(name, 3, SHORT)
    if name != "increase":  # nothing in it is by chance
        assert make(name, 3, SHORT) != make(name, 4, SHORT)


def test_a_published_workload_can_be_cut_short_and_played_at_another_rate():
    whole, half = make("proportional", 1), make("proportional", 1, Overrides(requests_per_s=2.25 / 2))

    assert len(half.arrivals) == len(whole.arrivals)
    assert half.arrivals[-1].at_ms == pytest.approx(2 * whole.arrivals[-1].at_ms, rel=0.01)
    assert make("proportional", 1, SHORT).to_ms == 12_000


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_workload_says_what_it_is_for(name):
    assert WORKLOADS[name].__doc__.strip().endswith(".")


@pytest.mark.parametrize(
    ("name", "prompt", "completion"),
    [
        ("azure-conversation", 1154.7, 211.1),
        ("azure-code", 2047.8, 27.9),
        ("mooncake-conversation", 12_035, 342.6),
        ("mooncake-synthetic", 15_325, 149),
        ("arxiv", 2588, 291),
    ],
)
def test_drawn_lengths_have_the_means_of_their_traces(name, prompt, completion):
    arrivals = make(name, 1, Overrides(seconds=3000, requests_per_s=10)).arrivals

    assert mean(one.prompt_tokens for one in arrivals) == pytest.approx(prompt, rel=0.07)
    # A lognormal cannot do better for code and arXiv, whose answers have a heavy tail.
    assert mean(one.completion_tokens for one in arrivals) == pytest.approx(completion, rel=0.18)


@pytest.mark.parametrize("cv", [1.0, 4.0])
def test_gaps_between_arrivals_have_the_rate_and_the_variation_asked_for(cv):
    times = list(Pace(10.0, 0, 20_000, cv).times_ms(dice(1)))
    gaps = [(after - before) / 1000 for before, after in pairwise(times)]

    assert mean(gaps) == pytest.approx(0.1, rel=0.05)
    assert pstdev(gaps) / mean(gaps) == pytest.approx(cv, rel=0.05)


def test_overrides_change_rate_time_tenants_and_engines():
    changed = Overrides(seconds=50, requests_per_s=20.0, tenants=1000, zipf=1.0, engines=3, profile="h100-7b")
    workload = make("weighted", 1, changed)
    counts = Counter(arrival.tenant for arrival in workload.arrivals)

    assert len(workload.arrivals) == pytest.approx(1000, abs=2)
    assert max(arrival.at_ms for arrival in workload.arrivals) < 50_000
    assert [spec.profile for spec in workload.engines] == ["h100-7b"] * 3
    assert not workload.weights  # they were other tenants'
    harmonic = sum(1 / rank for rank in range(1, 1001))
    assert counts["tenant-0001"] == pytest.approx(1000 / harmonic, rel=0.2)
    assert counts["tenant-0001"] > 1.3 * counts["tenant-0002"]


def test_engines_are_taken_in_turn_where_they_differ():
    assert [spec.speed for spec in make("slow-backend", 1, Overrides(engines=6)).engines] == [
        0.25, 1.0, 1.0, 1.0, 0.25, 1.0,
    ]  # fmt: skip


def a_file(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_trace_is_played_as_it_was_from_its_first_request(tmp_path):
    trace = a_file(tmp_path, "arrival_s,client,prompt_tokens,completion_tokens\n5.5,b,8,0\n4.3,a,374,44\n")

    arrivals = read_trace(trace, 1).arrivals

    assert [(one.at_ms, one.tenant, one.prompt_tokens, one.completion_tokens) for one in arrivals] == [
        (0, "a", 374, 44),
        (1200, "b", 8, 1),  # an answer of no tokens counts as one of 1
    ]


def test_a_trace_without_tenants_is_shared_by_ten_and_cut_at_the_seconds_asked_for(tmp_path):
    rows = "".join(f"{n / 10},100,20\n" for n in range(400))
    trace = a_file(tmp_path, "arrival_s,prompt_tokens,completion_tokens\n" + rows)

    workload = read_trace(trace, 1, 20)

    assert len(workload.arrivals) == 200
    assert {one.tenant for one in workload.arrivals} == {f"tenant-{n:02}" for n in range(1, 11)}


def test_json_lines_are_read_too_and_long_prompts_get_an_engine_that_takes_them(tmp_path):
    trace = a_file(
        tmp_path,
        '{"timestamp": 40, "input_length": 40160, "output_length": 6, "hash_ids": [0, 1]}\n\n'
        '{"timestamp": 1040, "input_length": 100, "output_length": 6}\n',
        "mooncake.jsonl",
    )

    workload = read_trace(trace, 1)

    assert [(one.at_ms, one.prompt_tokens, one.prefixes) for one in workload.arrivals] == [
        (0, 40160, (0, 1)),
        (1000, 100, ()),
    ]
    assert workload.engines[0].prefix_cache
    assert workload.engines[0].max_model_len == 40166
    assert measure(play(Scenario(workload))).outcomes == {"ok": 2}


def shared_tokens(arrivals):
    """The part of all prompt tokens that an endless cache would have, and how many share."""
    known, found = set(), 0
    for one in arrivals:
        found += 512 * sum(prefix in known for prefix in one.prefixes)
        known.update(one.prefixes)
    return found / sum(one.prompt_tokens for one in arrivals)


def test_drawn_documents_are_asked_about_as_in_mooncakes_trace():
    # Of the file: 3,993 requests, 15,325 tokens and answers of 149 on the mean, 64 % of the blocks known.
    arrivals = make("documents", 1, Overrides(seconds=1022)).arrivals

    assert len(arrivals) == pytest.approx(3993, rel=0.08)
    assert mean(one.prompt_tokens for one in arrivals) == pytest.approx(15_325, rel=0.12)
    assert mean(one.completion_tokens for one in arrivals) == pytest.approx(149, rel=0.12)
    assert shared_tokens(arrivals) == pytest.approx(0.64, abs=0.08)


def test_questions_about_one_document_are_one_tenants():
    owners = {}
    for one in make("documents", 1, Overrides(tenants=7)).arrivals:
        if one.prefixes:
            owners.setdefault(one.prefixes[0], set()).add(one.tenant)

    assert {len(tenants) for tenants in owners.values()} == {1}
    assert len({tenant for tenants in owners.values() for tenant in tenants}) == 7


def test_clients_that_wait_for_answers_come_at_no_rate():
    with pytest.raises(ValueError, match="no rate"):
        make("whole-answers", 1, Overrides(requests_per_s=5.0))


HEAD = "arrival_s,prompt_tokens,completion_tokens\n"
GOOD = '{"timestamp": 1, "input_length": 2, "output_length": 3}\n'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "a,b\n1,2\n", "line 1: there is no column arrival_s, prompt_tokens, completion_tokens"),
        ("a.csv", HEAD, "a.csv: there is no request in it"),
        ("a.csv", HEAD + "0,1,1\n1,x,1\n", "a.csv, line 3, column prompt_tokens: 'x'"),
        ("a.csv", HEAD + "-1,1,1\n", "line 2, column arrival_s: '-1'"),
        ("a.csv", HEAD + "1,inf,1\n", "column prompt_tokens: 'inf'"),
        ("a.csv", HEAD + "1,5\n", "column completion_tokens: None"),
        ("a.csv", HEAD + "1,9999999,1\n", "a.csv: its longest request has 10,000,000 tokens"),
        ("a.jsonl", '{"timestamp": 1}\n', "a.jsonl, line 1, column input_length: None"),
        ("a.jsonl", GOOD + "no\n", "a.jsonl, line 2: this is no JSON object"),
        ("a.jsonl", GOOD[:-2] + ', "hash_ids": 7}\n', "a.jsonl, line 1, column hash_ids: give a list"),
        ("a.jsonl", "7\n", "line 1: this is no JSON object"),
    ],
)
def test_a_bad_trace_is_refused_with_its_file_line_column_and_the_mend(tmp_path, name, text, said):
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        read_trace(a_file(tmp_path, text, name), 1)
    assert any(
        mend in str(refused.value)
        for mend in ("Give ", "give a list", "Mend it", "must name", "Take the row out")
    )


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")

    with pytest.raises(ValueError, match=r"trace\.csv: this is no text in UTF-8"):
        read_trace(path, 1)


def test_the_mark_that_spreadsheets_put_in_front_of_their_text_is_passed_over(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(HEAD + "0,10,5\n", encoding="utf-8-sig")

    assert len(read_trace(path, 1).arrivals) == 1


@pytest.mark.skipif(not DATA.exists(), reason="the folder with the real traces is not beside this repository")
@pytest.mark.parametrize(
    ("name", "requests"),
    [
        ("azure_llm_2023_conversation.csv", 19_366),
        ("vtc_arena_27_clients.csv", 1_500),
        ("mooncake_synthetic.jsonl", 3_993),
    ],
)
def test_the_public_traces_are_read_whole(name, requests):
    arrivals = read_trace(DATA / name, 1).arrivals

    assert len(arrivals) == requests
    if name.endswith("jsonl"):
        assert shared_tokens(arrivals) == pytest.approx(0.65, abs=0.01)
