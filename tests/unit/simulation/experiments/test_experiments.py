"""Every experiment shows what the article says, in a sentence that can say the opposite."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.simulation.experiments import (
    bare_engine,
    classes,
    engine_priority,
    headers,
    kv,
    no_back_pressure,
    power_user,
    prefix,
    pretend,
    queue_target,
    round_robin,
    routing,
    text,
    token_cost,
    tpot_target,
    weights,
)
from scheduling.simulation.experiments.conduct import conduct
from scheduling.simulation.experiments.experiment import Finding
from scheduling.simulation.experiments.registry import EXPERIMENTS
from scheduling.simulation.experiments.spread import conduct_all
from tests.unit.simulation.experiments.short import SHORT, numbers, run, with_figures

LONGER = {"kv": {"seconds": 45}}  # its first seconds, when all answers begin at once, say nothing
ALLOWED = {"p99": "99", "times longer": "8"}  # figures that name what is measured


@pytest.fixture(scope="module")
def reports():
    return {name: run(name, **LONGER.get(name, {})) for name in EXPERIMENTS}


def test_the_registry_tells_the_parts_in_the_articles_order():
    assert list(EXPERIMENTS) == [
        "bare-engine",
        "power-user",
        "round-robin",
        "weights",
        "token-cost",
        "classes",
        "no-back-pressure",
        "queue-target",
        "tpot-target",
        "headers",
        "prefix",
        "kv",
        "routing",
        "engine-priority",
    ]
    parts = [each.part for each in EXPERIMENTS.values()]
    assert parts == ["1", "2", "3", "3.1", "3.1", "3.1", "4", "5", "5", "5.1", "5.1", "5.1", "5.1", "6, 6.1"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_shows_what_the_article_says(reports, name):
    assert reports[name].finding.shown, reports[name].finding.sentence


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_number_of_the_sentence_stands_in_the_table(reports, name):
    report = reports[name]
    cells = [cell for line in report.table.lines() for cell in line]
    known = set(numbers(" ".join(cells))) | set(ALLOWED.values())

    assert set(numbers(report.finding.sentence)) <= known
    assert len(set(numbers(report.finding.sentence)) - set(ALLOWED.values())) >= 3


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_one_sentence_is_one_sentence(reports, name):
    sentence = reports[name].finding.sentence

    assert sentence.endswith(".")
    assert ". " not in sentence


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_same_seed_gives_the_same_trials_and_another_one_others(name):
    experiment = EXPERIMENTS[name]

    assert experiment.trials(SHORT, 1) == experiment.trials(SHORT, 1)
    if name != "bare-engine":  # nothing there is left to chance
        assert experiment.trials(SHORT, 1) != experiment.trials(SHORT, 2)


def found(report, changes):
    return report.experiment.find(with_figures(report.table, changes))


def test_without_harm_the_power_users_sentence_says_so(reports):
    calm = {label: {"p99": 0.02, "factor": 1.0} for label in (power_user.ENGINE, power_user.GATEWAY)}
    finding = found(reports["power-user"], calm)

    assert not finding.shown
    assert "stays about the same" in finding.sentence
    assert "block" not in finding.sentence


def test_a_round_robin_that_cures_nothing_is_told_as_that(reports):
    finding = found(reports["round-robin"], {round_robin.IN_TURN: {"p99": 900.0, "factor": 90_000.0}})

    assert not finding.shown
    assert "does not bring" in finding.sentence


def test_a_round_robin_that_is_fair_to_all_sizes_is_told_as_that(reports):
    finding = found(reports["round-robin"], {round_robin.UNEQUAL: {"long": 0.5}})

    assert not finding.shown
    assert "yet" not in finding.sentence


def test_weights_that_do_not_act_are_told_as_that(reports):
    finding = found(reports["weights"], {"d": {"share_before": 0.1}, weights.ALL: {"arrived": None}})

    assert not finding.shown
    assert "do not share as they should" in finding.sentence
    assert "not all reach" in finding.sentence


def test_counting_tokens_is_not_called_fairer_when_it_is_not(reports):
    finding = found(reports["token-cost"], {token_cost.BY_TOKENS: {"jain": 0.5}})

    assert not finding.shown
    assert "is not fairer here" in finding.sentence


def test_classes_that_help_nobody_are_told_as_that(reports):
    finding = found(reports["classes"], {classes.RESERVED: {"factor": 90.0}})

    assert not finding.shown
    assert "not every step helps" in finding.sentence


def test_an_engine_that_does_not_batch_is_told_as_that(reports):
    label = bare_engine.FULL
    finding = found(reports["bare-engine"], {label: {"written": 90.0, "p99": 99.0}})

    assert not finding.shown
    assert "leave that at" in finding.sentence
    assert "do not wait longer" in finding.sentence


def test_a_fair_queue_that_helps_before_an_engine_without_end_is_told_as_that(reports):
    finding = found(reports["no-back-pressure"], {no_back_pressure.FAIR: {"p99": 0.1, "factor": 2.0}})

    assert not finding.shown
    assert "a fair queue helps" in finding.sentence


def test_a_literal_rule_without_a_herd_is_told_as_that(reports):
    finding = found(reports["queue-target"], {queue_target.LITERAL: {"p99": 0.1}})

    assert not finding.shown
    assert "is enough here" in finding.sentence


def test_a_window_that_starves_the_engine_is_told_as_that(reports):
    finding = found(reports["queue-target"], {queue_target.BLIND: {"kept": 0.5}})

    assert not finding.shown
    assert "but with only 50.0 %" in finding.sentence


def test_static_caps_that_need_not_be_right_are_told_as_that(reports):
    finding = found(reports["tpot-target"], {tpot_target.CAP_HALF: {"kept": 1.0}})

    assert not finding.shown
    assert "must be right" not in finding.sentence


def test_headers_that_gain_nothing_are_told_as_that(reports):
    same = {"kept": reports["headers"].table.value(headers.COUNTED, "kept")}
    finding = found(reports["headers"], {headers.COUNTED_TOLD: same})

    assert not finding.shown
    assert "no more than" in finding.sentence


def test_affinity_that_finds_nothing_is_told_as_that(reports):
    labels = (prefix.NEVER, prefix.ONE, prefix.FOUR)
    finding = found(reports["prefix"], {label: {"cached": 0.0} for label in labels})

    assert not finding.shown
    assert "only 0.0 %" in finding.sentence


def test_a_reservation_that_costs_throughput_says_what_it_costs(reports):
    finding = found(reports["kv"], {kv.ALL: {"kept": 0.8}})

    assert "but with only 80.0 % of the throughput" in finding.sentence


def test_a_reservation_that_saves_nobody_is_told_as_that(reports):
    finding = found(reports["kv"], {kv.ALL: {"preemptions": 1e6}})

    assert not finding.shown
    assert "leaves 1,000,000" in finding.sentence


def test_pulling_that_is_slower_than_dealing_is_told_as_that(reports):
    label = f"{routing.UNEQUAL}, {routing.PULL}"
    finding = found(reports["routing"], {label: {"p99": 1e6}})

    assert not finding.shown
    assert "pulling is not better here" in finding.sentence


def test_engine_priority_that_can_do_all_is_told_as_that(reports):
    table = reports["engine-priority"].table
    able = {key: table.value(engine_priority.GATEWAY, key) for key in ("arrived", "reached", "held")}
    finding = found(reports["engine-priority"], {engine_priority.ALONE: able})

    assert not finding.shown
    assert "this does not tell them apart" in finding.sentence


def test_the_window_protects_the_quiet_tenant_at_full_throughput_however_it_is_polled(reports):
    table = reports["queue-target"].table

    for label in queue_target.WINDOWS:
        assert table.value(label, "p99") <= 0.7
        assert table.value(label, "kept") >= 0.98


def test_each_seed_may_be_played_in_a_process_of_its_own():
    chosen = [EXPERIMENTS["power-user"], EXPERIMENTS["bare-engine"]]
    size = replace(SHORT, seconds=5)
    told = []

    spread = list(conduct_all(chosen, size, [1, 2], told.append, processes=2))
    here = list(conduct_all(chosen, size, [1, 2], told.append, processes=1))

    assert [report.table.rows for report in spread] == [report.table.rows for report in here]
    assert told[: len(told) // 2] == told[len(told) // 2 :]


def test_what_the_product_cannot_play_is_left_out_live_with_the_reason():
    experiment = EXPERIMENTS["power-user"]

    def trials(size, seed):
        *most, last = experiment.trials(size, seed)
        return [*most, replace(last, pretend_only="nobody can do that")]

    partly = replace(experiment, trials=trials, find=lambda table: Finding("Seen.", shown=True))
    size = replace(SHORT, seconds=5)
    live = conduct(partly, size, [1], pretend.play, lambda _: None, live=True)

    assert [row.label for row in live.table.rows] == [power_user.ALONE, power_user.ENGINE]
    assert f"Left out here: {power_user.GATEWAY} (nobody can do that)." in text.how(live)
    assert not conduct(partly, size, [1], pretend.play, lambda _: None).left_out


def test_a_power_user_harms_the_quiet_tenant_under_fifo_and_turns_and_tokens_cure_it(reports):
    harm = reports["power-user"].table
    cure = {"round-robin": round_robin.IN_TURN, "classes": classes.NO_CLASSES}

    assert min(harm.value(label, "factor") for label in (power_user.ENGINE, power_user.GATEWAY)) > 50
    for name, label in cure.items():
        assert reports[name].table.value(label, "factor") < 20


def test_seats_kept_free_bring_an_interactive_tenant_near_to_being_alone(reports):
    table = reports["classes"].table

    assert table.value(classes.RESERVED, "factor") <= 4
    assert table.value(classes.RESERVED, "kept") > 0.85


def test_medians_over_seeds_are_shown_and_each_seed_is_kept():
    report = run("power-user", seconds=10)

    assert report.by_seed[1] == report.table.rows


def test_requests_that_fail_prove_nothing():
    def broken(trial):
        return replace(pretend.play(trial), failed=1)

    experiment = EXPERIMENTS["power-user"]
    report = conduct(experiment, replace(SHORT, seconds=5), [1], broken, lambda _: None, live=True)

    assert report.failed == len(experiment.trials(SHORT, 1))
    assert not report.finding.shown


def test_a_run_too_short_to_hear_the_quiet_tenant_is_refused():
    silent = replace(SHORT, seconds=1, quiet_per_s=0.01)

    with pytest.raises(ValueError, match="quiet sent nothing in the measured time"):
        conduct(EXPERIMENTS["power-user"], silent, [1], pretend.play, lambda _: None)
