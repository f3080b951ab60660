"""An experiment on the running product: finds it, gives it engines of their own, plays, takes all back."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from config import children, launch, programs, reach, running
from config.interruptions import Interruptions, put_off
from config.running import Running
from config.trouble import Trouble
from gateway.experiments.engines import Engine, needed
from gateway.experiments.perform import perform
from gateway.experiments.stage import NAME, own_model, stage
from scheduling.simulation.experiments.conduct import conduct
from scheduling.simulation.experiments.experiment import Experiment, Report
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import EngineSpec

ENGINE_START_S = 20.0
ENGINE_STOP_S = 3.0
TAKEN_OVER_S = 10.0  # how long the gateway may take to know our model
SETTLE_S = 1.1  # every gateway obeys a change within a second
ASK_EVERY_S = 0.1
LISTENS = re.compile(r"listening on (http://\S+)")


def run(
    experiment: Experiment, size: Size, seeds: Sequence[int], data: Path, tell: Callable[[str], None]
) -> Report:
    """The experiment on the product that runs on this data folder.

    Raises Trouble, Busy, KeyboardInterrupt, or ValidationError when somebody
    else's rows have the names that it needs; all that was made is gone then.
    """
    product = find(data)
    trials = [trial for seed in seeds for trial in experiment.played(size, seed, live=True)]
    with (
        put_off() as interruptions,
        _engines(needed(trials), data, interruptions) as engines,
        stage(engines, trials) as made,
    ):
        with interruptions.let_in():
            _wait_until_known(product.gateway_url, list(made.secrets.values())[-1])  # the last one made
        tell(f"watch it at {product.console_url}/queues/{NAME}/")

        def play(trial: Trial) -> Observation:
            made.set(trial)
            with interruptions.let_in():
                time.sleep(SETTLE_S)
                return asyncio.run(perform(trial, made, product.gateway_url))

        return conduct(experiment, size, seeds, play, tell, live=True)


def find(data: Path) -> Running:
    """The product that runs on this data folder. Raises Trouble that says how to start one."""
    there = running.read(data)
    if there is None:
        raise Trouble(
            f"--live needs the running product, and none runs on {data}. Start it in another terminal with "
            "`make run`, or set FAIRLANE_DATA_DIR to the folder of one that runs."
        )
    reach.postgres()
    if not launch.probe(there.gateway_url):
        raise Trouble(f"{there.gateway_url}/readyz is not 200 yet. Try again in a moment, or run `doctor`.")
    return there


@contextmanager
def _engines(specs: Sequence[EngineSpec], data: Path, interruptions: Interruptions) -> Iterator[list[Engine]]:
    """Simulated engines that end with the block, and with us in any case."""
    with ExitStack() as stack:
        started = [
            (spec, *stack.enter_context(_process(spec, place, data))) for place, spec in enumerate(specs)
        ]
        with interruptions.let_in():
            engines = [Engine(spec, _url(process, log)) for spec, process, log in started]
        yield engines


@contextmanager
def _process(spec: EngineSpec, place: int, data: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = data / "log" / (f"experiment-engine-{place}.log" if place else "experiment-engine.log")
    log.unlink(missing_ok=True)
    env = {**os.environ, "PYTHONPATH": programs.code_path()}
    process = children.start(_line(spec, place), log, signal.SIGTERM, env=env)
    try:
        yield process, log
    finally:
        children.stop(process, signal.SIGTERM, ENGINE_STOP_S)


def _line(spec: EngineSpec, place: int) -> tuple[str, ...]:
    """The command line of this engine, which serves the model that all have and one that it alone has."""
    memory = ("--kv-tokens", str(spec.kv_tokens)) if spec.kv_tokens else ()
    return (
        *programs.engine(0, NAME, spec.max_num_seqs),
        *("--alias", own_model(place), "--profile", spec.profile, "--time-scale", f"{spec.speed:g}"),
        *("--max-model-len", str(spec.max_model_len), "--scheduling-policy", spec.scheduling_policy),
        *("--orca", "always" if spec.sends_headers else "never", *memory),
    )


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    def told() -> re.Match[str] | None:
        return LISTENS.search(log.read_text(errors="replace"))

    children.wait_ready("The experiment's engine", process, log, lambda: bool(told()), ENGINE_START_S)
    found = told()
    return found[1] if found else ""


def _wait_until_known(gateway_url: str, secret: str) -> None:
    """Until the gateway serves the experiment's model. Raises Trouble when it does not come to that."""
    until = time.monotonic() + TAKEN_OVER_S
    while not _knows(gateway_url, secret):
        if time.monotonic() > until:
            raise Trouble(f"{gateway_url} did not take the experiment's pool over in {TAKEN_OVER_S:g} s.")
        time.sleep(ASK_EVERY_S)


def _knows(gateway_url: str, secret: str) -> bool:
    request = urllib.request.Request(  # noqa: S310 - our own gateway
        f"{gateway_url}/v1/models", headers={"Authorization": f"Bearer {secret}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=1) as answer:  # noqa: S310
            return f'"{NAME}"'.encode() in answer.read()
    except OSError:
        return False
