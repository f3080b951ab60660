"""An experiment on the running product: finds it, gives it an engine of its own, plays, takes all back."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from config import children, launch, programs, reach, running
from config.interruptions import Interruptions, put_off
from config.running import Running
from config.trouble import Trouble
from gateway.experiments.perform import perform
from gateway.experiments.stage import NAME, stage
from scheduling.simulation.experiments.conduct import conduct
from scheduling.simulation.experiments.experiment import Experiment, Report
from scheduling.simulation.experiments.trial import Observation, Size, Trial

ENGINE_START_S = 20.0
ENGINE_STOP_S = 3.0
TAKEN_OVER_S = 10.0  # how long the gateway may take to know our model
SETTLE_S = 1.5  # every gateway obeys a change within a second
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
    trials = [trial for seed in seeds for trial in experiment.trials(size, seed)]
    with (
        put_off() as interruptions,
        _engine(size, data, interruptions) as engine_url,
        stage(engine_url, trials) as made,
    ):
        with interruptions.let_in():
            _wait_until_known(product.gateway_url, list(made.secrets.values())[-1])  # the last one made
        tell(f"watch it at {product.console_url}/queues/{NAME}/")

        def play(trial: Trial) -> Observation:
            changed = made.set(trial)
            with interruptions.let_in():
                if changed:
                    time.sleep(SETTLE_S)
                return asyncio.run(perform(trial, made, product.gateway_url, engine_url))

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
def _engine(size: Size, data: Path, interruptions: Interruptions) -> Iterator[str]:
    """The URL of a simulated engine that ends with the block, and with us in any case."""
    log = data / "log" / "experiment-engine.log"
    log.unlink(missing_ok=True)
    line = (
        *programs.engine(0, NAME, size.seats),
        *("--profile", size.profile, "--time-scale", f"{size.time_scale:g}"),
    )
    env = {**os.environ, "PYTHONPATH": programs.code_path()}
    process = children.start(line, log, signal.SIGTERM, env=env)
    try:
        with interruptions.let_in():
            url = _url(process, log)
        yield url
    finally:
        children.stop(process, signal.SIGTERM, ENGINE_STOP_S)


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
