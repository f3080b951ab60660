"""What Fairlane costs, beside proxies and other gateways, in one interleaved run on two cores.

    python -m benchmarks.overhead                                   # what is installed here, about a minute
    python -m benchmarks.overhead --against nginx,envoy --rounds 5 --seconds 2
    python -m benchmarks.overhead --scenarios all --write benchmarks/README.md

One process is both the engine and all clients and spins on core 0. Every
gateway is pinned to core 1, all of them are alive at once, and the rounds go
round. CPU time is the kernel's account of a gateway's processes, so it holds
on a busy machine; ratios are computed within a turn. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import uvloop

from benchmarks import report
from benchmarks.gateways import PEERS
from benchmarks.gateways.base import Gateway, Missing, Running
from benchmarks.gateways.fairlane import MANY, Fairlane
from benchmarks.load import loop, process_tree
from benchmarks.load.run import Lab, Scenario, Target
from benchmarks.outcome import DIRECT, Outcome, Rest
from benchmarks.scenarios import BY_NAME, READY, SHORT
from config.trouble import Trouble

ASK_EVERY_S = 0.2
CALM_SHARE, CALM_S = 0.3, 10.0  # of a core; a gateway that had too much gets so long to put it away
LOOK_S = 0.1
REST_S = 2.0


class Contest:
    """All gateways of one run, from their start to their end."""

    def __init__(self, lab: Lab, folder: Path, outcome: Outcome) -> None:
        self.targets: list[Target] = []
        self._lab, self._folder, self._outcome = lab, folder, outcome
        self._stack = ExitStack()

    async def start(self, gateways: Sequence[Gateway]) -> None:
        """Start what is installed, and wait until each has answered a request."""
        self.targets = [Target(DIRECT, self._lab.engine.port, 0)]
        for gateway in gateways:
            _say("start", gateway.name)
            try:
                self._outcome.versions[gateway.name] = gateway.version()
                running = Running(gateway, self._folder, self._lab.engine.port)
                targets = running.start()
            except Missing as missing:
                self._outcome.missing[gateway.name] = str(missing)
                continue
            self._stack.callback(running.stop)
            if not (problem := await self._first_answers(targets, running)):
                self.targets += targets
            elif isinstance(gateway, Fairlane):
                raise Trouble(f"{gateway.name} {problem}")
            else:
                del self._outcome.versions[gateway.name]
                self._outcome.missing[gateway.name] = problem
                running.stop()

    async def _first_answers(self, targets: Sequence[Target], running: Running) -> str:
        """Ask until there is an answer; what is wrong if there is none."""
        for target in targets:
            until_s = time.monotonic() + running.gateway.start_s
            error = "no answer"
            while error and time.monotonic() < until_s and not running.ended:
                figures = await self._lab.run(READY, target, ASK_EVERY_S)
                error = figures.first_error or ("" if figures.requests else "no answer")
            if error:
                return f"did not start: {error}; {running.last_words()}"
        return ""

    async def rest(self) -> None:
        """What each holds and does while nobody asks."""
        pids = {target.name: target.pid for target in self.targets if target.name in self._outcome.versions}
        before_ns = {name: process_tree.cpu_ns(pid) for name, pid in pids.items()}
        await asyncio.sleep(REST_S)
        for name, pid in pids.items():
            share = (process_tree.cpu_ns(pid) - before_ns[name]) / (REST_S * 1e9)
            self._outcome.rest[name] = Rest(process_tree.rss_bytes(pid) / 2**20, 100 * share)

    async def play(self, scenario: Scenario, rounds: int, seconds: float) -> None:
        """One scenario, round and round."""
        taking_part = [target for target in self.targets if _takes_part(target, scenario)]
        for _ in range(1 if scenario.idle else rounds * scenario.slices):
            for target in taking_part:
                _say(scenario.name, target.name)
                figures = await self._lab.run(scenario, target, seconds / scenario.slices)
                self._outcome.add(scenario.name, target.name, figures)
                await _calm(target)
            self._outcome.load_average.append(os.getloadavg()[0])

    def stop(self) -> None:
        """End all gateways."""
        self._stack.close()


def _say(what: str, name: str) -> None:
    print(f"{what:<11} {name}", file=sys.stderr, flush=True)


def _takes_part(target: Target, scenario: Scenario) -> bool:
    if scenario.only:
        return target.name in scenario.only
    if scenario.idle and not target.pid:
        return False
    return not target.name.startswith("fairlane-") and scenario.connections <= target.most_connections


async def _calm(target: Target) -> None:
    """Wait until a gateway that had more than it could do has put it away: the next one has the same core."""
    until_s = time.monotonic() + CALM_S
    while target.pid and time.monotonic() < until_s:
        before_ns = process_tree.cpu_ns(target.pid)
        await asyncio.sleep(LOOK_S)
        if process_tree.cpu_ns(target.pid) - before_ns < CALM_SHARE * LOOK_S * 1e9:
            return


def chosen_gateways(against: Sequence[str], scenarios: Sequence[Scenario]) -> list[Gateway]:
    """Fairlane in the variants that the scenarios ask for, and the peers."""
    asked = {name for scenario in scenarios for name in scenario.only}
    gateways: list[Gateway] = [Fairlane()]
    if "fairlane-no-records" in asked:
        gateways.append(Fairlane("fairlane-no-records", stores_records=False))
    if "fairlane-10k" in asked:
        gateways.append(Fairlane("fairlane-10k", MANY))
    return gateways + [PEERS[name]() for name in against]


async def measure(
    against: Sequence[str], scenarios: Sequence[Scenario], rounds: int, seconds: float
) -> Outcome:
    """The whole run."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    loop.pin()
    lab, outcome = Lab(), Outcome(rounds, seconds)
    await lab.engine.listen()
    with tempfile.TemporaryDirectory(prefix="fairlane-bench-") as folder:
        contest = Contest(lab, Path(folder), outcome)
        try:
            await contest.start(chosen_gateways(against, scenarios))
            await contest.rest()
            for scenario in scenarios:
                await contest.play(scenario, rounds, seconds)
        finally:
            contest.stop()
            lab.engine.close()
    return outcome


def _names(known: Sequence[str], kind: str) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = list(known) if text == "all" else [name for name in text.split(",") if name != "none"]
        if unknown := sorted(set(names) - set(known)):
            raise argparse.ArgumentTypeError(f"no {kind} {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return read


def main() -> None:
    """Measure, print the JSON line, and write the table where it is wanted."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument(
        "--against", type=_names(tuple(PEERS), "gateway"), default=list(PEERS), help="names, by comma"
    )
    options.add_argument(
        "--scenarios",
        type=_names(tuple(BY_NAME), "scenario"),
        default=list(SHORT),
        help="names by comma, or all",
    )
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--seconds", type=float, default=1.0, help="of one measurement: its slices together")
    options.add_argument(
        "--write", type=Path, metavar="FILE", help="put the tables between the marks of this file"
    )
    chosen = options.parse_args()
    if not {loop.LOAD_CORE, loop.GATEWAY_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("This benchmark needs cores 0 and 1: one for the load, one for the gateways.")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scenarios = [BY_NAME[name] for name in chosen.scenarios]
    try:
        if chosen.write:
            report.check(chosen.write)
        outcome = uvloop.run(measure(chosen.against, scenarios, chosen.rounds, chosen.seconds))
    except (Trouble, ValueError, subprocess.CalledProcessError) as error:
        raise SystemExit(str(error)) from None
    except asyncio.CancelledError:
        raise SystemExit("ended before its end: nothing is told") from None
    print(json.dumps(outcome.as_json()))
    if chosen.write:
        report.write(chosen.write, outcome, " ".join(["python -m benchmarks.overhead", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
