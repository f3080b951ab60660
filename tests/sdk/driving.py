"""A stock client in a process of its own, told what to do line by line."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from typing import Any

from tests.sdk.clients import Client

START_S = 120.0  # some clients import for seconds, and all start at once
ANSWER_S = 60.0


class Driver:
    """One client. ``begin`` a thing and take its ``result``, or ``do`` both."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._lines: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            client.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._heard: list[str] = []
        self._ears = [
            threading.Thread(target=self._listen, args=(self._process.stdout, self._lines.put), daemon=True),
            threading.Thread(
                target=self._listen, args=(self._process.stderr, self._heard.append), daemon=True
            ),
        ]
        for ear in self._ears:
            ear.start()
        self.version = ""
        self._number = 0

    def ready(self) -> Driver:
        """Wait until it has started."""
        if not self.version:
            self.version = self._next(START_S)["version"]
        return self

    def begin(self, do: str, **call: Any) -> None:
        """Tell it what to do."""
        assert self._process.stdin
        self._number += 1
        print(json.dumps({"do": do, "number": self._number, **call}), file=self._process.stdin, flush=True)

    def result(self) -> dict[str, Any]:
        """What it says of it."""
        while (told := self._next(ANSWER_S)).pop("number") != self._number:
            pass  # the answer to a test that did not wait for it
        return told

    def do(self, do: str, **call: Any) -> dict[str, Any]:
        """Tell it, and hear of it."""
        self.begin(do, **call)
        return self.result()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for ear in self._ears:
            ear.join(5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def _listen(self, pipe: Any, keep: Any) -> None:
        for line in pipe:
            keep(line)

    def _next(self, within_s: float) -> dict[str, Any]:
        try:
            return json.loads(self._lines.get(timeout=within_s))
        except queue.Empty:
            said = "".join(self._heard[-20:])
            raise AssertionError(f"{self.client.name} said nothing for {within_s:g} s. {said}") from None
