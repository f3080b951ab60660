"""Run the mutants of scheduling/core: ``python -m tests.mutation``, which is ``make mutants``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutation import survivors
from tests.mutation.changed import changed_lines
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.session import ROOT, ItemCheck, run
from tests.mutation.transplant import transplant
from tests.mutation.trial import ALIVE, Trial, Verdict, verdict_of

CORE = ROOT / "scheduling" / "core"
SAMPLE_ONE_IN = 24  # of the decisions' mutants that are not listed
SEED = "0"  # of hashes: the order of a set must not decide who survives


class Run:
    """The mutants that are on trial, their verdicts, and what is printed of them."""

    def __init__(self, mutants: Sequence[Mutant], jobs: int) -> None:
        self._mutants = mutants
        self._jobs = jobs
        self._running: dict[int, tuple[Mutant, Trial, list[ItemCheck]]] = {}
        self.verdicts: dict[Mutant, Verdict] = {}
        self.cpu_s = 0.0

    def work(self, checks: list[ItemCheck]) -> bool:
        """Try all, file by file. False when a test fails without any bug."""
        sick = [check.name for check in checks if not check.reach.passed]
        if sick:
            print("These fail without any bug in the code:", *sick, sep="\n  ")
            return False
        for file in dict.fromkeys(mutant.file for mutant in self._mutants):
            began, self.cpu_s = time.monotonic(), 0.0
            mutants = [mutant for mutant in self._mutants if mutant.file == file]
            self._try_all(mutants, checks)
            seconds = f"{time.monotonic() - began:.0f} s, {self.cpu_s:.0f} s of processor"
            print(_line(file, [self.verdicts[mutant] for mutant in mutants], seconds))
        return True

    def _try_all(self, mutants: Sequence[Mutant], checks: Sequence[ItemCheck]) -> None:
        for mutant in mutants:
            path = str(CORE / mutant.file)
            reaching = [check for check in checks if check.reaches(path, mutant.lines)]
            if not mutant.lines and not any(path in check.reach.lines for check in checks):
                reaching = list(checks)  # a file of rules alone, without functions
            reaching.sort(key=_price)  # first who kills many in little time
            if not reaching:
                self.verdicts[mutant] = Verdict.UNREACHED
                continue
            if len(self._running) == self._jobs:
                self._wait()
            trial = Trial(lambda mutant=mutant: infect(mutant), reaching)
            self._running[trial.child] = (mutant, trial, reaching)
        while self._running:
            self._wait()

    def _wait(self) -> None:
        child, status, used = os.wait3(0)
        mutant, trial, checks = self._running.pop(child)
        self.verdicts[mutant] = verdict_of(status)
        self.cpu_s += used.ru_utime + used.ru_stime
        if self.verdicts[mutant] in ALIVE:
            print(f"  alive: {mutant.key}")
        else:
            checks[trial.running].kills += 1


def _price(check: ItemCheck) -> float:
    return check.cpu_s / (check.kills + 0.1)


def infect(mutant: Mutant) -> None:
    """Put the bug into the imported core."""
    transplant(sys.modules[_module(mutant.file)], mutant.code())


def main(arguments: Sequence[str]) -> int:
    """Try the mutants and compare with the list; 0 when the list is true and complete."""
    options = _options(arguments)
    every = [mutant for path in sorted(CORE.glob("*.py")) for mutant in mutants_of(path, path.name)]
    mutants = list(_selected(every, options))
    for file in {mutant.file for mutant in mutants}:
        importlib.import_module(_module(file))
    print(f"{len(mutants)} of {len(every)} mutants, {options.jobs} at a time", flush=True)
    began, trials = time.monotonic(), Run(mutants, options.jobs)
    # for a few mutants it does not pay to note who reaches what
    paths = set() if options.sample else {str(CORE / mutant.file) for mutant in mutants}
    if not run(paths, trials.work):
        print("The tests cannot judge: they do not pass, or could not be collected.")
        return 2
    print(_line("all", list(trials.verdicts.values()), f"{time.monotonic() - began:.0f} s"))
    alive = [mutant for mutant in mutants if trials.verdicts[mutant] in ALIVE]
    return _compared(every, mutants, alive, write=options.write)


def _compared(
    every: Sequence[Mutant], tried: Sequence[Mutant], alive: Sequence[Mutant], *, write: bool
) -> int:
    known = survivors.read()
    if write:
        survivors.write(survivors.renewed(known, every, tried, alive))
        known = survivors.read()
    complaints = survivors.complaints(known, every, tried, alive)
    print(*complaints, f"{len(complaints)} complaints about {survivors.LIST.name}", sep="\n")
    return 1 if complaints else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description="Mutants of scheduling/core.")
    parser.add_argument("--write", action="store_true", help="bring survivors.toml up to date")
    parser.add_argument("--sample", action="store_true", help="the fixed sample of make test")
    parser.add_argument(
        "--only", metavar="TEXT", nargs="+", default=[""], help="those with a text in the name"
    )
    parser.add_argument("--since", metavar="REVISION", help="mutants of lines changed since then")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    return parser.parse_args(arguments)


def _selected(every: Sequence[Mutant], options: argparse.Namespace) -> Iterator[Mutant]:
    known = survivors.read() if options.sample else {}
    changed = changed_lines(CORE, options.since) if options.since else None
    for mutant in every:
        sampled = mutant.file in survivors.DECISIONS and mutant.chosen(SAMPLE_ONE_IN)
        unlisted = (mutant.place, mutant.text) not in known  # that the others live, the whole run finds out
        fresh = changed is None or not changed[mutant.file].isdisjoint(mutant.written)
        named = any(text in mutant.key for text in options.only)
        if fresh and named and (not options.sample or (sampled and unlisted)):
            yield mutant


def _module(file: str) -> str:
    return f"scheduling.core.{Path(file).stem}"


def _line(name: str, verdicts: Sequence[Verdict], seconds: str) -> str:
    counts = Counter(verdicts)
    parts = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    return f"{name:<16} {len(verdicts):5} mutants: {parts}; {seconds}"


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != SEED:
        # the seed is read when Python starts
        os.environ["PYTHONHASHSEED"] = SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.mutation", *sys.argv[1:]])
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(sys.argv[1:]))
