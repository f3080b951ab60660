"""What a run's tables say follows from its figures, and nothing is said that was not measured."""

from __future__ import annotations

import pytest

from benchmarks import report
from benchmarks.bars import BARS, judge
from benchmarks.load.clients import Tally
from benchmarks.load.run import Figures, Scenario, Target, figures_of
from benchmarks.outcome import Outcome
from benchmarks.overhead import Contest


def one_second(cpu_us: int, requests: int = 1000) -> Figures:
    return figures_of(Tally(requests=requests), took_ns=10**9, cpu_ns=cpu_us * requests * 1000)


class Recorder:
    """A lab that only notes who was asked, and for how long."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, float]] = []

    async def run(self, scenario: Scenario, target: Target, seconds: float) -> Figures:
        self.turns.append((target.name, seconds))
        return one_second(50)


def outcome_of(**cpu_us: list[int]) -> Outcome:
    outcome = Outcome(rounds=3, seconds=1.0, versions=dict.fromkeys(("fairlane", "nginx", "envoy"), "1"))
    for name, rounds in cpu_us.items():
        for each in rounds:
            outcome.add("plain64", name, one_second(each))
    return outcome


def verdict(outcome: Outcome, text: str):
    return next(each for each in judge(outcome) if text in each.bar.text)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    outcome = outcome_of(fairlane=[20, 60, 40], nginx=[10, 10, 40])

    assert outcome.ratio("plain64", "fairlane", "nginx", "cpu_us") == 2.0


@pytest.mark.parametrize(("ours", "word"), [(100, "met"), (101, "missed")])
def test_four_fifths_of_envoy_are_a_quarter_more_cpu_time(ours: int, word: str) -> None:
    assert verdict(outcome_of(fairlane=[ours], envoy=[80]), "Envoy").word == word


def test_half_of_the_turns_lie_in_the_middle() -> None:
    found = verdict(outcome_of(fairlane=[50, 40, 10, 20, 30], envoy=[10] * 5), "Envoy")

    assert found.middle == pytest.approx((1 / 4, 1 / 2))
    assert found.found == pytest.approx(1 / 3)


def test_two_turns_have_no_middle() -> None:
    assert verdict(outcome_of(fairlane=[50, 40], envoy=[10, 10]), "Envoy").middle is None


async def test_a_round_is_cut_into_short_turns_that_go_round_among_the_gateways(tmp_path) -> None:
    lab = Recorder()
    contest = Contest(lab, tmp_path, outcome := Outcome(rounds=2, seconds=1.5))
    contest.targets = [Target(name, port=1, pid=0) for name in ("direct", "other")]

    await contest.play(Scenario("plain64", 64, slices=3), rounds=2, seconds=1.5)

    assert lab.turns == [("direct", 0.5), ("other", 0.5)] * 6
    assert len(outcome.values("plain64", "other", "cpu_us")) == 6


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {each.word for each in judge(Outcome(rounds=1, seconds=1.0))} == {"not measured"}


def test_a_gateway_that_answered_nothing_is_not_beaten() -> None:
    outcome = outcome_of(fairlane=[50])
    outcome.add("plain64", "litellm", one_second(0, requests=0))

    assert verdict(outcome, "LiteLLM").word == "not measured"


def test_the_tables_go_between_the_marks_and_nowhere_else(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")

    report.write(page, outcome_of(fairlane=[65], nginx=[20], envoy=[70]), "the command")

    text = page.read_text()
    assert text.startswith("before\n" + report.BEGIN)
    assert text.endswith(report.END + "\nafter\n")
    assert "old" not in text
    assert "the command" in text


def test_a_page_without_a_place_for_the_tables_is_refused(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks")

    with pytest.raises(ValueError, match="has no place for the tables"):
        report.write(page, outcome_of(fairlane=[65]), "the command")


def test_every_bar_is_in_the_table() -> None:
    text = report.tables(outcome_of(fairlane=[65]), "the command")

    assert [bar.text for bar in BARS if bar.text not in text] == []
