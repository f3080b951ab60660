"""The list of survivors: complete, true, and with a reason for each."""

from __future__ import annotations

import pytest

from tests.mutation import survivors
from tests.unit.mutation.toys import mutants

PLACE, TEXT = "toy.py clamp", "if n < 0: => if n <= 0:"
REASON = "equivalent: both give 0"


@pytest.fixture
def every(tmp_path):
    return mutants(tmp_path)


@pytest.fixture
def alive(every):
    return [mutant for mutant in every if (mutant.place, mutant.text) == (PLACE, TEXT)]


def test_an_argued_survivor_is_no_complaint(every, alive):
    assert survivors.complaints({(PLACE, TEXT): REASON}, every, every, alive) == []


def test_a_survivor_that_is_not_listed_is_one(every, alive):
    assert "SURVIVED" in "".join(survivors.complaints({}, every, every, alive))


def test_an_empty_reason_is_one(every, alive):
    assert "no good reason" in "".join(survivors.complaints({(PLACE, TEXT): ""}, every, every, alive))


@pytest.mark.parametrize(("reason", "good"), [(REASON, True), ("nobody will notice", False)])
def test_where_decisions_are_made_only_three_kinds_of_reason_count(tmp_path, monkeypatch, reason, good):
    monkeypatch.setattr(survivors, "DECISIONS", {"toy.py"})
    every = mutants(tmp_path)
    alive = [mutant for mutant in every if (mutant.place, mutant.text) == (PLACE, TEXT)]

    assert (survivors.complaints({(PLACE, TEXT): reason}, every, every, alive) == []) is good


def test_a_listed_mutant_that_is_killed_is_one(every):
    (complaint,) = survivors.complaints({(PLACE, TEXT): REASON}, every, every, [])

    assert "take it out" in complaint


def test_a_listed_mutant_that_was_not_tried_is_none(every):
    assert survivors.complaints({(PLACE, TEXT): REASON}, every, [], []) == []


def test_a_listed_mutant_of_text_that_is_gone_is_one(every):
    (complaint,) = survivors.complaints({(PLACE, "a => b"): REASON}, every, [], [])

    assert "no such mutant" in complaint


def test_the_list_anew_keeps_reasons_and_what_was_not_tried(every, alive):
    other = next(mutant for mutant in every if mutant not in alive)
    known = {(PLACE, TEXT): REASON, (other.place, other.text): "view: a colour", ("gone.py", "a"): "speed: x"}

    assert survivors.renewed(known, every, alive, alive) == {
        (PLACE, TEXT): REASON,
        (other.place, other.text): "view: a colour",
    }
    assert survivors.renewed({}, every, alive, alive) == {(PLACE, TEXT): ""}


def test_what_is_written_is_read_again(tmp_path, every):
    path = tmp_path / "list.toml"
    reasons = {(mutant.place, mutant.text): f'"{mutant.ordinal}" \\ é' for mutant in every}

    survivors.write(reasons, path)

    assert survivors.read(path) == reasons
