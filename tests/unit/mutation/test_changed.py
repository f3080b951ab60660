"""Which lines are new since a revision, so that a developer tries the mutants of those alone."""

from __future__ import annotations

import subprocess

import pytest

from tests.mutation.changed import changed_lines
from tests.unit.mutation.toys import mutants

BEFORE = "def f(a):\n    if a < 1:\n        return 2\n    return 3\n"


@pytest.fixture
def repository(tmp_path):
    """A folder of a repository, with one file that was committed, and that file."""
    core = tmp_path / "some" / "core"
    core.mkdir(parents=True)
    (core / "toy.py").write_text(BEFORE)
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=tmp_path, check=True)
    return core


def test_only_the_lines_that_differ_are_new(repository):
    (repository / "toy.py").write_text("# a word\n" + BEFORE.replace("return 3", "b = 4\n    return b"))

    assert changed_lines(repository, "HEAD") == {"toy.py": {1, 5, 6}}


def test_what_is_gone_leaves_nothing_new(repository):
    (repository / "toy.py").write_text(BEFORE.replace("    return 3\n", ""))

    assert not any(changed_lines(repository, "HEAD").values())


def test_a_revision_that_nobody_knows_ends_the_run_with_its_name(repository):
    with pytest.raises(SystemExit, match="--since no-such"):
        changed_lines(repository, "no-such")


def test_a_mutant_knows_the_lines_of_its_statement_and_not_those_of_the_block_below(tmp_path):
    source = "N = 1\ndef f(a,\n      b=2):\n    if (a\n        < 1):\n        return 7\n"

    written = {mutant.was.partition("\n")[0]: list(mutant.written) for mutant in mutants(tmp_path, source)}

    assert written == {"N = 1": [1], "def f(a, b=2):": [2, 3], "if a < 1:": [4, 5], "return 7": [6]}
