"""What all Python drivers share: one JSON line in, one JSON line out, for each thing a client is to do.

A driver runs under its client's own interpreter and imports nothing of
Fairlane. Its class has a method for each thing that the client can do; a
method takes a ``Call`` and returns what a user of the client would see.
Whatever it raises is told as an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace as Call

TOOL = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.01
AFTERWARDS_S = 0.05
RUNNER = asyncio.Runner()


def serve(package, driver):
    """Answer lines until the input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a client that prints must not be taken for an answer
    print(json.dumps({"version": metadata.version(package)}), file=out)
    for line in sys.stdin:
        call = Call(**json.loads(line))
        try:
            told = getattr(driver, call.do)(call)
        except Exception as error:
            told = {"error": describe(error)}
        print(json.dumps({**told, "number": call.number}), file=out)


def describe(error):
    """An error as a user sees it."""
    status = getattr(error, "status_code", None)
    return {"type": type(error).__name__, "status": status, "message": str(error)}


def now():
    """Seconds of a clock that all processes of a machine share."""
    return {"left_s": time.monotonic()}


def leave_in_line(ask, until):
    """Ask, and give up as soon as the file ``until`` is there, although nothing has come."""

    async def run():
        task = asyncio.ensure_future(ask())
        while not Path(until).exists():
            await asyncio.sleep(LOOK_EVERY_S)
        left = now()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return left

    return RUNNER.run(lived(run()))


async def lived(work):
    """Do it in a loop that lives on for a moment, as a program's does: connections are closed by then."""
    done = await work
    await asyncio.sleep(AFTERWARDS_S)
    return done


def dump(arguments):
    """Arguments of a tool call, whether they came as text or parsed."""
    return json.loads(arguments) if isinstance(arguments, str) else arguments
