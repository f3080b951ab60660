"""The stock clients: where each is installed, which file drives it, what it can do."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
INSTALLED = ROOT / "var" / "sdk"  # by `make sdk`
MAIN = "main"  # the environment that runs the tests; its lock is requirements-dev.lock
JS = "js"
HOW = "run: make sdk"

CHAT = frozenset({"ask", "stream", "leave"})
ANTHROPIC = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Client:
    """One stock client. ``home`` is its environment: ``MAIN``, a folder of ``python/*.in``, or ``JS``."""

    name: str  # the column's head
    package: str
    home: str
    driver: str
    can: frozenset[str]
    path: str = "/v1/chat/completions"  # where it asks
    retries: bool = True  # how often it tries again can be set

    @property
    def version(self) -> str:
        """The one in its lock."""
        if self.home == JS:
            lock = json.loads((HERE / "js" / "package-lock.json").read_text(encoding="utf-8"))
            return str(lock["packages"][f"node_modules/{self.package}"]["version"])
        lock_path = (
            ROOT / "requirements-dev.lock" if self.home == MAIN else HERE / "python" / f"{self.home}.lock"
        )
        found = re.search(rf"^{self.package}==(\S+)", lock_path.read_text(encoding="utf-8"), re.MULTILINE)
        assert found, f"{lock_path} does not hold {self.package}"
        return found[1]

    @property
    def missing(self) -> str:
        """Why it cannot be run here; empty when it can."""
        if self.home == JS and shutil.which("node") is None:
            return f"{self.name} is not tried: there is no node (apt-get install nodejs npm); then {HOW}"
        if not self._place.exists():
            return f"{self.name} is not tried: {self._place.relative_to(ROOT)} is not installed; {HOW}"
        return ""

    @property
    def command(self) -> list[str]:
        """What starts its driver."""
        if self.home == JS:
            # A module finds its packages beside itself.
            for module in (HERE / "js").glob("*.mjs"):
                shutil.copy(module, INSTALLED / JS)
            return ["node", str(INSTALLED / JS / self.driver)]
        return [str(self._place), str(HERE / "python" / self.driver)]

    @property
    def _place(self) -> Path:
        if self.home == MAIN:
            return Path(sys.executable)
        if self.home == JS:
            return INSTALLED / JS / "node_modules" / self.package
        return INSTALLED / self.home / "bin" / "python"


CLIENTS = (
    Client("openai, Python", "openai", MAIN, "drive_openai.py", CHAT | {"models", "embed", "respond"}),
    Client("openai, JS", "openai", JS, "drive_openai.mjs", CHAT | {"models", "embed", "respond"}),
    Client(
        "anthropic, Python", "anthropic", MAIN, "drive_anthropic.py", CHAT | {"models", "count"}, ANTHROPIC
    ),
    Client(
        "anthropic, JS", "@anthropic-ai/sdk", JS, "drive_anthropic.mjs", CHAT | {"models", "count"}, ANTHROPIC
    ),
    Client("Vercel AI SDK", "ai", JS, "drive_vercel.mjs", CHAT | {"embed"}),
    Client("LangChain", "langchain-openai", "langchain", "drive_langchain.py", CHAT | {"embed"}),
    Client("LiteLLM", "litellm", "litellm", "drive_litellm.py", CHAT | {"embed"}),
    Client("llm", "llm", "llm", "drive_llm.py", CHAT, retries=False),
)


def that_can(verb: str) -> list[Client]:
    """The clients that have this."""
    return [client for client in CLIENTS if verb in client.can]


def those(clients: Iterable[Client]) -> pytest.MarkDecorator:
    """A test for each of these; all tests of one client come together, while the next ones still start."""
    return pytest.mark.parametrize("client", clients, ids=lambda client: client.name, scope="session")
