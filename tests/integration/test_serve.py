"""The product as a person starts it: `manage.py serve` in a folder of its own."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from tests.fakes import doc_examples

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 60.0
STOP_S = 10.0  # what the product promises
ENDED = "fairlane | (ended)"

pytestmark = pytest.mark.product


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def environment(data: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FAIRLANE_")}
    return {**ours, "FAIRLANE_DATA_DIR": str(data), "PYTHONUNBUFFERED": "1"}


def manage(data: Path, *line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *line]
    return subprocess.run(
        command, cwd=ROOT, env=environment(data), capture_output=True, text=True, timeout=60, check=False
    )


class Serve:
    """One `serve`, its output, and all processes it has."""

    def __init__(self, data: Path, port: int, *flags: str) -> None:
        self.data, self.port = data, port
        command = [sys.executable, "manage.py", "serve", "--port", str(port), *flags]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(data),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._arrived: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                self._arrived.put(line.rstrip("\n"))
        self._arrived.put(ENDED)

    def wait_for(self, wanted: str, within_s: float = START_S) -> str:
        until = time.monotonic() + within_s
        while True:
            try:
                line = self._arrived.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line with {wanted!r} within {within_s} s:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if wanted in line:
                return line
            if line == ENDED:
                pytest.fail(f"ended without a line with {wanted!r}:\n" + "\n".join(self.lines))

    def up(self) -> Serve:
        self.wait_for("print(answer")
        return self

    @property
    def screen(self) -> str:
        return "\n".join(self.lines)

    @property
    def secret(self) -> str:
        """The API token that the first screen shows."""
        found = re.search(r"^fl_\w+$", self.screen, re.MULTILINE)
        assert found
        return found.group()

    def get(self, path: str) -> tuple[int, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()

    def pids(self) -> set[int]:
        """Every process of this product: each has the data folder in its environment or command line."""
        mark = str(self.data).encode()
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes():
                    found.add(int(folder.name))
            except OSError:
                continue
        return found

    def joined(self) -> None:
        """Everything it printed has been read."""
        self._reader.join(STOP_S)
        assert not self._reader.is_alive(), "somebody still holds its output"

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(STOP_S * 2)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def serving(data: Path, port: int, *flags: str) -> Iterator[Serve]:
    serve = Serve(data, port, *flags)
    try:
        yield serve
    finally:
        if serve.process.poll() is None:
            serve.process.send_signal(signal.SIGTERM)
            serve.process.wait(STOP_S * 2)
        serve.joined()


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


def test_a_first_start_a_day_of_work_and_a_clean_end(data, port, subtests):
    with serving(data, port) as serve:
        serve.up()
        assert serve.get("/readyz")[0] == 200

        what_the_screen_says_works(serve)
        what_the_docs_say_works(serve)
        with subtests.test("lines for curl"):
            the_curl_lines_work(serve)
        a_second_serve_is_refused(serve)
        a_killed_process_comes_back(serve)
        the_doctor_finds_nothing(data)

        pids = serve.pids()
        took_s = serve.stop()
        assert serve.process.returncode == 0
        assert took_s < STOP_S
        assert len(pids) > 8
        assert serve.pids() == set()


def what_the_screen_says_works(serve: Serve) -> None:
    python = serve.screen[serve.screen.index("from openai") :]
    told: list[object] = []
    exec(python, {"print": told.append})  # the pasted lines themselves
    assert told
    assert all(isinstance(answer, str) and answer for answer in told)

    link = re.search(r"^http://localhost:\d+(/welcome/\S+)$", serve.screen, re.MULTILINE)
    assert link
    assert "password" in serve.get(link.group(1))[1].lower()


def what_the_docs_say_works(serve: Serve) -> None:
    doc_examples.run_all_python(serve.port, serve.secret)


def the_curl_lines_work(serve: Serve) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the lines that people paste need curl: apt-get install curl")
    curl = serve.screen[serve.screen.index("curl -N") :].split("\n\n")[0]
    said = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=30, check=False).stdout
    assert said.startswith("data: {")
    assert said.rstrip().endswith("data: [DONE]")
    doc_examples.run_all_curl(serve.port, serve.secret)


def a_second_serve_is_refused(serve: Serve) -> None:
    second = manage(serve.data, "serve", "--port", str(free_port()))
    assert second.returncode == 1
    assert f"already runs on {serve.data} (pid {serve.process.pid}" in second.stderr


def a_killed_process_comes_back(serve: Serve) -> None:
    beat = next(pid for pid in serve.pids() if b"beat" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(beat, signal.SIGKILL)
    serve.wait_for("beat ended with code -9")


def the_doctor_finds_nothing(data: Path) -> None:
    until = time.monotonic() + 20
    while (found := manage(data, "doctor", "--json")).returncode and time.monotonic() < until:
        continue  # beat has just been killed
    checks = json.loads(found.stdout)
    assert {check["state"] for check in checks} == {"ok"}


def test_a_restart_keeps_the_data_and_shows_no_secret(data, port):
    token = manage(data, "token", "issue", "demo", "--name", "kept", "--quiet").stdout.strip()
    assert token.startswith("fl_")

    with serving(data, port) as serve:
        serve.up()
        assert "fl_" not in serve.screen
        with OpenAI(base_url=f"http://localhost:{port}/v1", api_key=token) as client:
            assert [model.id for model in client.models.list()] == ["demo-llama"]

        began = time.monotonic()
        serve.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        serve.process.send_signal(signal.SIGTERM)
        serve.process.wait(STOP_S)
        assert time.monotonic() - began < 4  # a second signal waits for nobody
    assert serve.pids() == set()


def test_a_killed_supervisor_leaves_nobody_behind_and_the_next_start_works(data, port):
    with serving(data, port, "--split", "--console-port", str(free_port())) as serve:
        serve.up()
        serve.process.kill()
        serve.process.wait()
        until = time.monotonic() + STOP_S
        while serve.pids() and time.monotonic() < until:
            time.sleep(0.05)
        assert serve.pids() == set()

    listed = manage(data, "token", "list", "demo", "--json")
    assert "kept" in listed.stdout


def test_a_port_that_is_taken_is_named(data):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        refused = manage(data, "serve", "--port", str(taken))

    assert refused.returncode == 1
    assert f"Cannot listen on 127.0.0.1 port {taken}: Address already in use" in refused.stderr


def test_a_broken_data_folder_is_named_with_the_mend(tmp_path, port):
    (tmp_path / "postgres").mkdir()

    refused = manage(tmp_path, "serve", "--port", str(port))

    assert refused.returncode == 1
    assert "holds no database" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_database_that_does_not_answer_is_named(tmp_path, port):
    env = {**environment(tmp_path), "DATABASE_URL": "postgres://u:secret@127.0.0.1:9/x"}
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    refused = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )

    assert refused.returncode == 1
    assert "PostgreSQL does not answer" in refused.stderr
    assert "Mend DATABASE_URL" in refused.stderr
    assert "secret@" not in refused.stderr


def test_several_gateway_processes_are_refused_with_the_reason(data):
    refused = manage(data, "serve", "--workers", "2")

    assert refused.returncode == 1
    assert "--workers 1" in refused.stderr
