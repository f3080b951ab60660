"""The examples of the docs, run as they are printed, against a product that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openai import OpenAI

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60.0


class Examples:
    """Runs them in a folder of its own, at the product's port, by the API token ``secret``."""

    def __init__(self, port: int, secret: str, folder: Path) -> None:
        self._port, self._folder = port, folder
        self._client = OpenAI(base_url=f"http://localhost:{port}/v1", api_key=secret)
        self._environment = {**os.environ, "FAIRLANE_TOKEN": secret}

    def printed(self, page: str, language: str) -> str:
        """All blocks of a page in one language, one behind the other, for this port."""
        blocks = re.findall(
            rf"^```{language}\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
        assert blocks, f"{page} has no example in {language}"
        return "".join(blocks).replace("localhost:8000", f"localhost:{self._port}")

    def python(self, page: str) -> str:
        """What a page's example prints."""
        return self._run([sys.executable, "-c", self.printed(page, "python")])

    def calls(self, page: str) -> list[dict[str, Any]]:
        """The JSON that each curl of a page's shell lines answers. ``$ID`` is a request that ran just now."""
        message = {"role": "user", "content": "Hello"}
        asked = self._client.chat.completions.with_raw_response.create(
            model="demo-llama", max_tokens=2, messages=[message]
        )
        self._environment["ID"] = asked.headers["x-fairlane-request-id"]
        lines = self.printed(page, "sh").replace("curl ", "curl -sS ")
        return list(objects(self._run(["bash", "-e", "-c", lines])))

    def lay_out(self, name: str, text: str) -> None:
        """A file that an example reads."""
        (self._folder / name).write_text(text, encoding="utf-8")

    def _run(self, command: list[str]) -> str:
        ended = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


def objects(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects that stand one behind the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        found, at = decoder.raw_decode(text, at)
        yield found


def run_all_python(port: int, secret: str) -> None:
    """Every Python example of the pages for clients does what its page says."""
    with tempfile.TemporaryDirectory() as folder:
        examples = Examples(port, secret, Path(folder))
        examples.lay_out("requests.jsonl", examples.printed("docs/batches.md", "json"))
        assert examples.python("README.md").strip()
        assert examples.python("docs/websocket.md").strip()
        said = examples.python("docs/batches.md")
        assert said.startswith("completed None\n")
        assert json.loads(said.splitlines()[1])["response"]["status_code"] == 200


def run_all_curl(port: int, secret: str) -> None:
    """The same of the lines for curl."""
    with tempfile.TemporaryDirectory() as folder:
        examples = Examples(port, secret, Path(folder))
        answers = examples.calls("docs/self-service.md")
        assert len(answers) == examples.printed("docs/self-service.md", "sh").count("curl ")
        assert [answer for answer in answers if "error" in answer] == []
