"""Install the other gateways, so that they can be measured beside ours.

    python -m benchmarks.peers install                 # all that can be installed here
    python -m benchmarks.peers install --only litellm,nginx
    python -m benchmarks.peers list

Each gets an environment of its own under var/bench, from a lock with hashes
beside this file. nginx and HAProxy are Debian's packages and need root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from benchmarks.gateways import PEERS
from benchmarks.gateways.base import Missing
from benchmarks.peers import LOCKS, NODE_PEERS, PYTHON_PEERS, folder

# Their services are not wanted: RUNLEVEL keeps Debian's scripts from starting them.
DEBIAN_PEERS = {"nginx": "nginx-light", "haproxy": "haproxy"}
QUIET = {"RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}


class Failed(Exception):
    """One peer could not be installed."""


def install_python(name: str) -> None:
    """A virtual environment with exactly what the lock says."""
    here = folder(name)
    _run(sys.executable, "-m", "venv", "--clear", str(here))
    pip = (str(here / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--no-deps", "--require-hashes", "--requirement", str(LOCKS / f"{name}.lock"))


def install_node(name: str) -> None:
    """The packages of the lock; no package's own scripts are run."""
    if not shutil.which("npm"):
        raise Failed("there is no npm: install Node 20 or newer")
    here = folder(name)
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(LOCKS / name, here)
    _run("npm", "ci", "--prefix", str(here), "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund")


def install_debian(name: str) -> None:
    """The distribution's package, unless it is there."""
    if shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failed(f"needs root: apt-get install {DEBIAN_PEERS[name]}")
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "--yes", "-qq", "--no-install-recommends", DEBIAN_PEERS[name])


INSTALLERS: dict[str, Callable[[str], None]] = {
    **dict.fromkeys(DEBIAN_PEERS, install_debian),
    **dict.fromkeys(PYTHON_PEERS, install_python),
    **dict.fromkeys(NODE_PEERS, install_node),
}


def install(names: Sequence[str]) -> bool:
    """Install these; whether all went well."""
    well = True
    for name in names:
        print(f"{name} ...", flush=True)
        try:
            INSTALLERS[name](name)
        except Failed as failed:
            well = False
            print(f"{name}: not installed: {failed}")
    return well


def show() -> None:
    """What is here."""
    for name, peer in PEERS.items():
        try:
            print(f"{name}: {peer().version()}")
        except Missing as missing:
            print(f"{name}: {missing}")


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **QUIET},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}")


def main() -> None:
    """Install or list."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("action", choices=("install", "list"))
    options.add_argument("--only", default=",".join(INSTALLERS), help="names, by comma")
    chosen = options.parse_args()
    if chosen.action == "list":
        show()
        return
    names = [name for name in chosen.only.split(",") if name]
    if unknown := sorted(set(names) - set(INSTALLERS)):
        raise SystemExit(f"no peer {', '.join(unknown)}; there are {', '.join(INSTALLERS)}")
    if not install(names):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
