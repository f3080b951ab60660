"""Which bugs are made of a text, and how they are called."""

from __future__ import annotations

import pytest

from tests.unit.mutation.toys import TOY, mutants


def bugs_of(folder, statement: str) -> set[str]:
    """What becomes of a function's only statement."""
    return {mutant.becomes for mutant in mutants(folder, f"def f(a, b, c):\n    {statement}\n")}


@pytest.mark.parametrize(
    ("statement", "bugs"),
    [
        ("return a < b", {"return None", "return a <= b", "return a >= b"}),
        ("return a is b", {"return None", "return a is not b"}),
        ("return a - b", {"return None", "return a + b"}),
        ("return a and b", {"return None", "return a or b", "return a", "return b"}),
        ("return not a", {"return None", "return a"}),
        ("return min(a, 4)", {"return None", "return max(a, 4)", "return min(a, 5)", "return min(a, 3)"}),
        ("return a[b:]", {"return None", "return a[:]"}),
        (
            "return [n for n in a if b]",
            {"return None", "return [n for n in a]", "return [n for n in a if not b]"},
        ),
        ("return a if b else c", {"return None", "return a if not b else c"}),
        ("return True", {"return False"}),
        ("return zip(a, b, strict=True)", {"return None"}),
        ("return None", set()),  # as without it
        ("a.b += c", {"pass", "a.b -= c"}),
        ("a.b = c", {"pass"}),
        ("del a.b", {"pass"}),
        ("a.pop(b)", {"pass"}),
        ("yield a", {"pass"}),
        ("a = b", set()),
        ("raise ValueError(9)", {"pass"}),
        ("raise", {"pass"}),
        ("raise NotImplementedError", set()),
    ],
)
def test_every_small_change_of_a_statement_is_made_once(tmp_path, statement, bugs):
    assert bugs_of(tmp_path, statement) == bugs


@pytest.mark.parametrize(("word", "bugs"), [("break", {"pass", "continue"}), ("continue", {"pass", "break"})])
def test_a_loop_may_end_too_late_or_too_early(tmp_path, word, bugs):
    assert {*bugs_of(tmp_path, f"for n in a: {word}")} == bugs


def test_an_early_return_may_be_missed(tmp_path):
    assert bugs_of(tmp_path, "while a: return") == {"while not a:", "pass"}


@pytest.mark.parametrize(
    "harmless",
    ['"""1 < 2"""', 'a = f"{1 + 1}"', "from a import b", "super().__init__()", "n: 'a | b'"],
)
def test_words_for_people_and_types_have_no_bugs(tmp_path, harmless):
    assert bugs_of(tmp_path, harmless) == set()


def test_an_enumeration_has_no_bugs_because_its_members_are_in_use(tmp_path):
    assert mutants(tmp_path, "class Due(IntEnum):\n    NOW = 1\n") == []


def test_moved_lines_rename_no_mutant(tmp_path):
    moved = TOY.replace("def clamp", "\n\n# a comment\ndef more(n):\n    return n + 1\n\ndef clamp")

    names = [mutant.key for mutant in mutants(tmp_path)]

    assert set(names) < {mutant.key for mutant in mutants(tmp_path, moved)}
    assert len(set(names)) == len(names)


def test_equal_statements_of_one_function_are_counted(tmp_path):
    names = [mutant.key for mutant in mutants(tmp_path)]

    assert "toy.py Till.pay: self.sum += 9 => self.sum -= 9" in names
    assert "toy.py Till.pay: self.sum += 9 => self.sum -= 9 (no. 2)" in names


def test_a_mutant_leaves_the_text_of_the_others_alone(tmp_path):
    every = mutants(tmp_path)

    before = [mutant.code() for mutant in every]

    assert [mutant.code() for mutant in every] == before
    assert len(set(before)) == len(every)


def test_the_sample_does_not_depend_on_who_else_is_there(tmp_path):
    longer = mutants(tmp_path, TOY + "\ndef more(n):\n    return n + 1\n")
    chosen = {mutant.key for mutant in mutants(tmp_path) if mutant.chosen(3)}

    assert chosen == {mutant.key for mutant in longer if mutant.chosen(3) and mutant.owner != "more"}
    assert 0 < len(chosen) < len(longer)


def test_a_default_is_reached_by_whoever_runs_the_function(tmp_path):
    (first, *_) = mutants(tmp_path, "class A:\n    def f(self, n=1):\n        a = n\n        return a\n")

    assert first.becomes == "def f(self, n=2):"
    assert first.lines == {3, 4}
