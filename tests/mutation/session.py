"""The unit tests as checks: collected once by pytest, run one by one in the children."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path

import hypothesis
import pytest

from tests.mutation.coverage import Reach, in_a_child, lines_of
from tests.mutation.trial import be_quiet

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/unit/scheduling",)
LEFT_OUT = re.compile(
    "test_machine_mutants.py"  # puts bugs in itself, and plays what others play as well
    # These wait for engines on a network, whose time is no property of the core, and some need Django.
    r"|test_scrape\.py|test_connect(_failures)?\.py"
    # Of the long histories only the first: who survives those needs a better test, not one more seed.
    r"|test_under_siege.*\[([6-9]|\d\d)\]|test_long_histories.*\[(1[5-9]|[2-9]\d)\]"
    r"|test_backends_that_come_and_go.*\[(1[5-9]|[2-9]\d)\]"
)
ARGUMENTS = (
    *("-c", "tests/mutation/pytest.ini", "--rootdir", str(ROOT), "--confcutdir", str(ROOT)),
    *("--import-mode=importlib", "-qq", "--tb=no", "--no-header", "--no-summary", "--capture=no"),
    *("-p", "no:django", "-p", "no:cacheprovider", "-p", "no:playwright"),
)


class ItemCheck:
    """A collected test. ``reach`` is what it ran on the sound code, ``kills`` how many mutants it found."""

    def __init__(self, item: pytest.Item, failed: list[str]) -> None:
        self._item = item
        self._failed = failed
        self.reach = Reach()
        self.kills = 0
        self.name = item.nodeid

    @property
    def cpu_s(self) -> float:
        return self.reach.cpu_s

    def reaches(self, path: str, lines: Collection[int]) -> bool:
        return self.reach.touches(path, lines)

    def passes(self) -> bool:
        self._failed.clear()
        self._item.config.hook.pytest_runtest_protocol(item=self._item, nextitem=None)
        return not self._failed


class Session:
    """A pytest plugin that collects, hands the tests to ``work``, and runs none by itself."""

    def __init__(self, paths: Collection[str], work: Callable[[list[ItemCheck]], bool]) -> None:
        self._paths = paths
        self._work = work
        self._failed: list[str] = []
        self.ok = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """After the profile of conftest.py, before a test module makes settings of its own from it."""
        hypothesis.settings.register_profile(
            "mutants",
            max_examples=25,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return False  # a file could not be collected: pytest says which
        items = [item for item in session.items if not LEFT_OUT.search(item.nodeid)]
        checks = [ItemCheck(item, self._failed) for item in items]
        gc.collect()
        gc.freeze()  # the children share this memory
        for check, reach in zip(checks, in_a_child(lambda: self._reaches(checks)), strict=True):
            check.reach = reach
        self.ok = self._work(checks)
        return True

    def _reaches(self, checks: Sequence[ItemCheck]) -> list[Reach]:
        be_quiet()  # as on trial: a test that fails there though there is no bug must not judge
        return [self._reach(check) for check in checks]

    def _reach(self, check: ItemCheck) -> Reach:
        reach = Reach()
        began = time.process_time()
        with lines_of(self._paths, reach) if self._paths else nullcontext():
            reach.passed = check.passes()
        reach.cpu_s = time.process_time() - began
        return reach


def run(
    paths: Collection[str], work: Callable[[list[ItemCheck]], bool], tests: Sequence[str] = TESTS
) -> bool:
    """Whether ``work``, given the tests, said that all is well. Lines are noted in the files at ``paths``."""
    session = Session(paths, work)
    pytest.main([*ARGUMENTS, *tests], plugins=[session])
    return session.ok
