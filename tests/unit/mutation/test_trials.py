"""A mutant's trial: a bug is killed, a change that changes nothing survives, and the parent stays sound."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from tests.mutation import trial
from tests.mutation.coverage import Reach, in_a_child, lines_of
from tests.mutation.transplant import transplant
from tests.mutation.trial import Trial, Verdict, verdict_of
from tests.unit.mutation.toys import mutant, mutants, toy

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@dataclass
class Claim:
    """A check of the toy."""

    claim: Any
    cpu_s: float = 0.0

    def passes(self) -> bool:
        return self.claim()


def verdict(folder, module, text: str, *claims) -> Verdict:
    found = mutant(folder, text)
    one = Trial(lambda: transplant(module, found.code()), [Claim(claim) for claim in claims])
    _, status = os.waitpid(one.child, 0)
    assert one.running == len(claims) - 1
    return verdict_of(status)


def test_a_bug_is_killed_by_the_check_that_sees_it(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    text = "return min(n, LIMIT) => return max(n, LIMIT)"

    assert verdict(tmp_path, module, text, lambda: True, lambda: module.clamp(2) == 2) is Verdict.KILLED


def test_a_change_that_changes_nothing_survives(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    text = "if n < 0: => if n <= 0:"

    assert verdict(tmp_path, module, text, lambda: [*map(module.clamp, (-1, 0, 1, 4))] == [0, 0, 1, 3]) is (
        Verdict.SURVIVED
    )


def test_a_check_that_raises_kills(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)

    assert verdict(tmp_path, module, "return 0 => return 1", lambda: 1 // 0) is Verdict.KILLED


def test_a_check_that_never_ends_is_timed_out(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    monkeypatch.setattr(trial, "LEAST_CPU_S", 0.05)

    def forever():
        while module.clamp(-1) == 1:
            pass
        return True

    assert verdict(tmp_path, module, "return 0 => return 1", forever) is Verdict.TIMED_OUT


def test_a_check_that_waits_for_ever_is_timed_out(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    monkeypatch.setattr(trial, "LEAST_WALL_S", 0.05)
    out, _into = os.pipe()

    assert verdict(tmp_path, module, "return 0 => return 1", lambda: os.read(out, 1)) is Verdict.TIMED_OUT


def test_the_parent_stays_sound(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)

    verdict(tmp_path, module, "return min(n, LIMIT) => return max(n, LIMIT)", lambda: True)

    assert module.clamp(2) == 2


@pytest.mark.parametrize(
    ("text", "now"),
    [
        ("return 0 => return 1", lambda module: module.clamp(-1) == 1),
        ("return self.sum * 2 => return self.sum * 3", lambda module: module.Till().twice == 3),
        (
            "def __init__(self, start=1): => def __init__(self, start=2):",
            lambda module: module.Till().sum == 2,
        ),
        ("fee = 2 => fee = 3", lambda module: module.Till.fee == 3),
        ("LIMIT = 3 => LIMIT = 4", lambda module: module.clamp(9) == 4),
        ("most: int = 7 => most: int = 6", lambda module: module.Rule().most == 6),
        ("NORMAL = Rule(most=8) => NORMAL = Rule(most=9)", lambda module: module.NORMAL.most == 9),
        ("FEE = Coin(3) => FEE = Coin(4)", lambda module: module.FEE.milli == 4),
        ("return n // 2 => return n * 2", lambda module: module.half(3) == 6),  # though it knows the half
        ("PRICES = {'a': 5} => PRICES = {'a': 4}", lambda module: module.PRICES["a"] == 4),
    ],
)
def test_whatever_has_the_bug_is_changed_in_place(tmp_path, monkeypatch, text, now):
    module = toy(tmp_path, monkeypatch)
    found = mutant(tmp_path, text)
    known = [module.clamp, module.Till, module.Rule, module.NORMAL, module.FEE, module.PRICES, module.half]

    def infected() -> tuple[bool, bool]:
        transplant(module, found.code())
        now_known = [
            module.clamp,
            module.Till,
            module.Rule,
            module.NORMAL,
            module.FEE,
            module.PRICES,
            module.half,
        ]
        return now(module), all(one is other for one, other in zip(known, now_known, strict=True))

    assert not now(module)
    assert in_a_child(infected) == (True, True)


def test_a_constant_is_changed_where_it_was_imported_to(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    user = toy(tmp_path, monkeypatch, "from toy_of_mutants import LIMIT", "user_of_the_toy")
    found = mutant(tmp_path, "LIMIT = 3 => LIMIT = 4")

    def infected() -> int:
        transplant(module, found.code())
        return user.LIMIT

    assert (user.LIMIT, in_a_child(infected)) == (3, 4)


def test_a_member_of_an_enumeration_that_has_a_second_name_stays_what_it_is(tmp_path, monkeypatch):
    text = "from enum import IntEnum\nclass Due(IntEnum):\n    LOOK = 3\nLOOK = Due.LOOK\nSLACK = 64\n"
    module = toy(tmp_path, monkeypatch, text)
    (found,) = [each for each in mutants(tmp_path, text) if each.text == "SLACK = 64 => SLACK = 65"]

    def infected() -> tuple[bool, int]:
        transplant(module, found.code())
        return module.LOOK is module.Due.LOOK, module.SLACK

    assert in_a_child(infected) == (True, 65)


def test_a_default_of_a_struct_is_changed_wherever_the_struct_was_imported_to(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    user = toy(tmp_path, monkeypatch, "from toy_of_mutants import Coin", "user_of_the_toy")
    found = mutant(tmp_path, "minted: int = 1999 => minted: int = 2000")

    def infected() -> tuple[bool, bool]:
        sound = module.Coin
        transplant(module, found.code())
        coin = user.Coin(5)
        return coin == module.Coin(5, 2000, sound(5).of), isinstance(coin, sound)

    assert user.Coin(5).minted == 1999
    assert in_a_child(infected) == (True, True)


def test_a_struct_whose_defaults_stay_is_the_same_struct(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    found = mutant(tmp_path, "return self.milli + 1 => return self.milli - 1")

    def infected() -> tuple[int, bool]:
        sound = module.Coin
        transplant(module, found.code())
        return module.Coin(5).value, module.Coin is sound

    assert in_a_child(infected) == (4, True)


def test_a_check_reaches_the_lines_that_it_runs(tmp_path, monkeypatch):
    module = toy(tmp_path, monkeypatch)
    found = mutant(tmp_path, "return 0 => return 1")

    def reached(number: int) -> bool:
        reach = Reach()
        with lines_of({module.__file__}, reach):
            module.clamp(number)
        return reach.touches(module.__file__, found.lines)

    assert in_a_child(lambda: (reached(-1), reached(1))) == (True, False)
