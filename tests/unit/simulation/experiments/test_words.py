"""Figures and the words that follow from them."""

from __future__ import annotations

import pytest

from scheduling.simulation.experiments import words
from scheduling.simulation.experiments.experiment import Row, middle


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (0.0456, "0.046 s"), (0.52, "0.52 s"), (12.34, "12.3 s"), (136.4, "136 s")],
)
def test_a_time_has_about_three_figures(value, text):
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        pytest.param(25.0, "grows from 1 s to 2 s (25 times)", id="grows"),
        pytest.param(0.04, "falls from 1 s to 2 s (0.04 times)", id="falls"),
        pytest.param(1.2, "stays about the same: 1 s and 2 s", id="about the same"),
        pytest.param(0.8, "stays about the same: 1 s and 2 s", id="about the same, a little less"),
    ],
)
def test_what_a_figure_did_follows_from_how_much_it_moved(factor, said):
    moved = words.moved("It", "1 s", "2 s", words.Factor(factor, words.times(factor)))

    assert moved == f"It {said}"


def test_the_median_is_taken_row_by_row_and_only_where_every_seed_has_a_figure():
    runs = [[Row("a", {"x": x, "y": y})] for x, y in [(1.0, None), (5.0, 2.0), (3.0, 2.0)]]

    assert middle(runs) == [Row("a", {"x": 3.0, "y": None})]
