"""The workloads of the VTC paper: their arrivals, the measures, and how near the simulation comes."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from scheduling.core.policy import FAIRNESS
from scheduling.simulation.record import Served
from scheduling.simulation.scenario import Arrival, Workload
from scheduling.simulation.simulate import simulate
from scheduling.simulation.vtc import compare, page
from scheduling.simulation.vtc.arena import COUNTS, find_trace
from scheduling.simulation.vtc.dice import ARTIFACT_SEED, Dice
from scheduling.simulation.vtc.metrics import figures, first_token_s
from scheduling.simulation.vtc.published import NAMES, PUBLISHED, published
from scheduling.simulation.vtc.runs import GATEWAY, IN_ENGINE, Job, Measured, measure_job
from scheduling.simulation.vtc.workloads import WORKLOADS, arena, overload, overload_weighted

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fairness.md"


def found(scheduler, workload="overload"):
    return measure_job(Job(IN_ENGINE, workload, scheduler, ARTIFACT_SEED)).figures


def answered(tenant, at_s, seated_s, first_s, end_s, tokens=(100, 100)):
    arrival = Arrival(at_s * 1000, tenant, *tokens)
    return Served(arrival, seated_s * 1000, first_s * 1000, end_s * 1000)


def judged(served, weights=None):
    arrivals = tuple(one.arrival for one in served)
    return figures(Workload("test", arrivals, 30_000, 600_000, weights or {}), served)


# arrivals


def test_the_dice_are_those_of_the_artifact():
    dice = Dice(42)  # what numpy.random says after seed(42), from numpy 2

    assert [dice.unit() for _ in range(3)] == [0.3745401188473625, 0.9507143064099162, 0.7319939418114051]
    assert [dice.below(16, 512) for _ in range(4)] == [204, 36, 118, 137]
    assert [dice.gap(2.5) for _ in range(2)] == pytest.approx([0.06783851676584207, 0.02393550744347227])


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_seed_repeats_its_arrivals_in_order_of_time(name):
    once, again = (WORKLOADS[name](7) for _ in range(2))

    assert once == again
    assert [one.at_ms for one in once.arrivals] == sorted(one.at_ms for one in once.arrivals)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("overload", {"calm": 540, "greedy": 1080}),
        ("overload-multi", {f"client-{n}": 144 if n < 4 else 216 for n in range(1, 9)}),
        ("overload-weighted", {"weight-1": 288, "weight-2": 288, "weight-3": 432, "weight-4": 576}),
        ("proportional", {"quarter": 150, "half": 300, "greedy": 900}),
        ("increase", {"steady": 300, "growing": 660}),
        ("dist_shift", {"first": 90 + 300 + 150, "second": 600 + 300 + 450}),
    ],
)
def test_a_workload_without_chance_has_its_published_numbers_of_requests(name, counts):
    assert Counter(one.tenant for one in WORKLOADS[name](42).arrivals) == pytest.approx(counts, abs=1)


def test_an_on_off_tenant_is_silent_in_every_second_minute():
    for name in ("on_off_less", "on_off_overload", "poisson_on_off"):
        calm = [one.at_ms for one in WORKLOADS[name](1).arrivals if one.tenant == "calm"]

        assert {at_ms // 60_000 % 2 for at_ms in calm} == {0}


def test_without_its_trace_the_arena_has_the_published_counts():
    arrivals = arena(1).arrivals

    assert sorted(Counter(one.tenant for one in arrivals).values(), reverse=True) == list(COUNTS)
    assert sum(COUNTS) == 1500
    assert max(one.prompt_tokens for one in arrivals) <= 1021


def test_the_arenas_trace_is_read_and_another_seed_begins_elsewhere_in_it(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,client,prompt_tokens,completion_tokens\n0.5,a,13,199\n590.0,b,36,137\n")

    as_it_is, turned = (arena(seed, trace).arrivals for seed in (ARTIFACT_SEED, 1))

    assert [(one.at_ms, one.tenant) for one in as_it_is] == [(500, "a"), (590_000, "b")]
    assert sorted(one.prompt_tokens for one in turned) == [13, 36]
    assert (turned[1].at_ms - turned[0].at_ms) in (10_500, 589_500)
    assert turned != as_it_is


def test_a_file_that_is_no_trace_is_refused_by_its_name(tmp_path):
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")

    with pytest.raises(CommandError, match=r"wrong\.csv"):
        call_command("fairness", workload=["arena"], trace=wrong, seeds=1, jobs=1)


# measures


def test_the_difference_is_to_the_best_served_or_to_the_own_demand_whichever_is_nearer():
    # Windows of a minute. a gets 2 cost tokens a second all along, b asked for as much and gets 1.
    served = [answered("a", second, second, second, second + 1, (0, 1)) for second in range(600)]
    served += [answered("b", second, second, second, second + 2, (0, 1)) for second in range(0, 600, 2)]

    assert judged(served).avg_diff == pytest.approx(0.0, abs=0.05)  # b has all that it asked for

    served += [answered("b", second, 2000, 2000, 2001, (0, 1)) for second in range(1, 600, 2)]

    assert judged(served).avg_diff == pytest.approx(1.0, abs=0.05)


def test_the_gap_counts_only_while_both_are_in_line():
    ahead = [answered("a", 0, 0, 0, 100, (0, 500)), answered("a", 50, 110, 110, 111)]

    assert judged([*ahead, answered("b", 60, 120, 120, 130)]).gap == pytest.approx(400, abs=1)
    assert judged([*ahead, answered("b", 115, 120, 120, 130)]).gap == 0.0


def test_a_gap_is_of_service_over_weight():
    served = [
        answered("a", 0, 0, 0, 100, (0, 500)),
        answered("b", 0, 0, 0, 100, (0, 250)),
        answered("a", 0, 100, 100, 101),
        answered("b", 0, 100, 100, 101),
    ]

    assert judged(served).gap == pytest.approx(500, abs=20)
    assert judged(served, {"a": 2, "b": 1}).gap == pytest.approx(0, abs=1)


def test_a_refused_request_counts_nowhere_but_as_refused():
    served = [answered("a", 0, 0, 10, 20), Served(Arrival(0, "a", 9, 9)), Served(Arrival(0, "b", 9, 9))]

    result = judged(served)

    assert (result.refused, result.throughput) == (2, 10.0)
    assert first_token_s(served, ["a", "b"], 99) == 10.0


# the bars


@pytest.fixture(scope="module")
def overloaded():
    """VTC and those it is compared with, on the artifact's arrivals."""
    return {name: found(name) for name in ("VTC", "VTC ±50 %", "VTC oracle", "FCFS")}


@pytest.mark.parametrize("workload", ["overload", "overload-600s"])
def test_throughput_in_the_engine_is_within_six_per_cent_of_the_published(workload, overloaded):
    queue = "VTC" if workload == "overload" else "FCFS"
    ours = overloaded[queue] if workload == "overload" else found(queue, workload)

    assert ours["throughput"] == pytest.approx(published(workload, queue, "throughput"), rel=0.06)


def test_schedulers_rank_as_published(overloaded):
    average = {name: result["avg_diff"] for name, result in overloaded.items()}

    assert average["VTC oracle"] * 5 < average["VTC ±50 %"] < average["VTC"] / 5
    assert average["VTC"] < average["FCFS"] / 3


def test_the_published_numbers_of_refused_requests_come_out_of_the_trace_by_its_rule():
    if (trace := find_trace()) is None:
        pytest.skip("the arena's trace is not here")

    for most in (5, 10, 15):
        ours = measure_job(Job(IN_ENGINE, "arena", f"RPM {most}", ARTIFACT_SEED, trace)).figures["refused"]
        assert ours == published("arena", f"RPM {most}", "refused")


@pytest.mark.parametrize("make", [overload, overload_weighted])
def test_through_the_gateway_overload_is_shared_by_weight(make):
    workload = make(1, seconds=120)

    result = figures(workload, simulate(workload, "token_fair", "first_token_window").served)

    assert result.jain >= compare.LEAST_JAIN
    assert result.gap <= compare.GAP_BOUND


# the page


def test_the_command_sets_its_figures_beside_the_published_ones():
    out = io.StringIO()

    call_command("fairness", workload=["overload-600s"], seeds=1, jobs=1, json=True, stdout=out)
    told = json.loads(out.getvalue())

    first = next(one for one in told["published"] if one["figure"] == "avg_diff")
    assert (first["queue"], first["published"]) == ("FCFS", 439.0)
    assert first["deviation"] == pytest.approx(first["same"] / 439.0 - 1)
    assert {row["scheduler"] for row in told["schedulers"]} == {"FCFS", "VTC"}
    assert told["bars"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [({"workload": ["overload"], "write": Path("x.md")}, "--workload"), ({"seeds": 0}, "--seeds")],
)
def test_the_command_refuses_what_would_make_half_a_page(options, said):
    with pytest.raises(CommandError, match=said):
        call_command("fairness", **options)


def arena_page(gateway_diff):
    """A page of one scheduler in each place, of made-up figures."""
    result = dict.fromkeys([*NAMES, "jain", "jain_30s", "gap"], 1.0) | {"throughput": 730.0}
    runs = [
        Measured(Job(GATEWAY, "arena", "token_fair", 42), 25, {**result, "avg_diff": gateway_diff}),
        Measured(Job(IN_ENGINE, "arena", "VTC", 42), 25, {**result, "avg_diff": 240.0}),
        Measured(Job(GATEWAY, "arena", "token_fair", 42, seats=16), 16, {**result, "avg_diff": 200.0}),
    ]
    return page.document([], compare.rows(runs), seeds=1, traced=False)


def test_the_claim_is_made_only_if_the_figures_bear_it():
    kept, broken = arena_page(239.0), arena_page(253.0)

    assert "the fair claim is" in kept
    assert "not at hand" in kept
    assert "5.4% less fair" in broken
    assert "the fair claim is" not in broken
    assert "| avg diff, arena | ≤ 252 | 253.0 on average, 253.0 at the artifact's seed | **no** |" in broken


def test_the_last_row_of_other_seats_is_that_of_the_tables_above():
    assert arena_page(239.0).endswith("| 16 | 1 | 200 | 730 |\n| as above | 1 | 239 | 730 |\n")


def test_the_printed_page_has_every_published_figure_and_every_policy():
    text = PAGE.read_text(encoding="utf-8")

    assert text.startswith("<!-- Generated: manage.py fairness --seeds 10 --write docs/fairness.md -->\n")
    for one in PUBLISHED:
        for figure, value in one.figures.items():
            name = NAMES.get(figure, f"{figure}, s")
            assert f"| {one.workload} | {one.queue} | {name} | {page.number(value)} |" in text
    assert [policy for policy in FAIRNESS if f"| gateway | {policy} |" not in text] == []
