"""Record what a real engine says, as files that the default tests compare themselves with.

    python record.py http://127.0.0.1:8100 tests/fakes/recorded vllm_0.32.0 --model tiny

writes NAME_idle.txt and NAME_busy.txt (metric pages), NAME_models.json, NAME_chat.json,
NAME_stream.txt and NAME_error_*.json; the same of the Messages and the Responses API (all that
--dialects writes); NAME_orca.json, which answers bear a load header;
of the pages in ASIDE those that the engine has (NAME_version.json, NAME_slots_busy.json ...).
With ``--page blind`` only NAME_blind.txt is written, after one request. ``--hide TEXT``
takes a path or host name out of every file. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BUSY_CLIENTS = 10
BUSY_TOKENS = 400
PATIENCE_S = 600.0  # a busy machine is slow
PROMPT = [{"role": "user", "content": "each tenant takes its turn"}]
# What tells one engine from another, and its own configuration: page, and the end of the file's name.
ASIDE = {
    "/version": "version.json",
    "/health": "health.txt",
    "/load": "load.json",
    "/props": "props.json",
    "/slots": "slots.json",
}
ORCA_ASKED, ORCA_SAID = "endpoint-load-metrics-format", "endpoint-load-metrics"


class Recorder:
    """Asks one engine and writes its answers, with the given texts taken out."""

    def __init__(self, url: str, folder: Path, name: str, model: str, hide: list[str]) -> None:
        self._url = url.rstrip("/")
        self._folder = folder
        self._name = name
        self._model = model
        self._hide = hide

    def ask(self, path: str, body: dict[str, Any] | None = None) -> str:
        """The body of the answer, also when it is an error."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self._url + path, data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def chat(self, tokens: int, **more: Any) -> str:
        """One chat completion that writes exactly this many tokens where the engine can be told so."""
        body = {"model": self._model, "messages": PROMPT, "max_tokens": tokens, "ignore_eos": True}
        return self.ask("/v1/chat/completions", {**body, **more})

    def write(self, suffix: str, text: str) -> None:
        """Save one answer."""
        for hidden in self._hide:
            text = text.replace(hidden, "")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{self._name}_{suffix}").write_text(text)
        print(f"{self._name}_{suffix}: {len(text)} characters")

    def pages(self) -> None:
        """The metric page of the idle engine, and of one that has requests waiting."""
        self.chat(4)
        self.write("idle.txt", self.ask("/metrics"))
        with ThreadPoolExecutor(BUSY_CLIENTS) as clients:
            answers = [clients.submit(self.chat, BUSY_TOKENS) for _ in range(BUSY_CLIENTS)]
            time.sleep(1.0)
            self.write("busy.txt", self.ask("/metrics"))
            self.aside("/slots", "slots_busy.json")
            for answer in answers:
                answer.result()

    def aside(self, path: str, suffix: str) -> None:
        """Save one of the engine's other pages, if it has it."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=PATIENCE_S) as answer:
                self.write(suffix, answer.read().decode())
        except urllib.error.HTTPError as error:
            print(f"{path}: {error.code}")

    def orca_case(self, asked: str, *, stream: bool, queue: bool) -> dict[str, Any]:
        """One answer's load header, by the format that was asked for."""
        body = {"model": self._model, "messages": PROMPT, "max_tokens": 2, "stream": stream, "priority": -1}
        headers = {"Content-Type": "application/json"} | ({ORCA_ASKED: asked} if asked else {})
        request = urllib.request.Request(
            f"{self._url}/v1/chat/completions", data=json.dumps(body).encode(), headers=headers
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            said = answer.headers.get(ORCA_SAID)
        return {"stream": stream, "queue": queue, ORCA_ASKED: asked or None, ORCA_SAID: said}

    def orca(self) -> None:
        """Which answers bear a load header: of an idle engine, and of one that has requests waiting."""
        cases = [
            self.orca_case(asked, stream=stream, queue=False)
            for asked, stream in (("TEXT", False), ("JSON", False), ("", False), ("TEXT", True))
        ]
        with ThreadPoolExecutor(BUSY_CLIENTS) as clients:
            answers = [clients.submit(self.chat, BUSY_TOKENS) for _ in range(BUSY_CLIENTS)]
            time.sleep(1.0)
            cases += [self.orca_case(asked, stream=False, queue=True) for asked in ("TEXT", "JSON")]
            for answer in answers:
                answer.result()
        self.write("orca.json", json.dumps(cases, indent=1) + "\n")

    def answers(self) -> None:
        """The shapes of its answers and errors."""
        self.write("models.json", self.ask("/v1/models"))
        self.write("chat.json", self.chat(8))
        self.write("stream.txt", self.chat(8, stream=True, stream_options={"include_usage": True}))
        self.write("error_unknown_model.json", self.chat(8, model="no-such-model"))
        self.write("error_max_tokens.json", self.chat(1_000_000))
        self.write("error_bad_body.json", self.ask("/v1/chat/completions", {"model": self._model}))

    def dialects(self) -> None:
        """The Messages and the Responses API, and tokenization at the root."""
        message = {"model": self._model, "messages": PROMPT, "max_tokens": 8}
        response = {"model": self._model, "input": PROMPT[0]["content"], "max_output_tokens": 8}
        for name, path, body in (
            ("messages", "/v1/messages", message),
            ("responses", "/v1/responses", {**response, "store": False}),
        ):
            self.write(f"{name}.json", self.ask(path, body))
            self.write(f"{name}_stream.txt", self.ask(path, {**body, "stream": True}))
            self.write(f"{name}_error.json", self.ask(path, {"model": self._model}))
        self.write("count_tokens.json", self.ask("/v1/messages/count_tokens", message))
        prompt = {"prompt": "each tenant", "content": "each tenant"}
        self.write("tokenize.json", self.ask("/tokenize", {"model": self._model, **prompt}))


def main() -> None:
    """Read the command line and record."""
    parser = argparse.ArgumentParser(description="Record a real engine's pages and answers.")
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--page", default="", help="record only the metric page, under this name")
    parser.add_argument("--hide", action="append", default=[], help="a text to take out of every file")
    parser.add_argument("--dialects", action="store_true", help="record only the APIs of other dialects")
    asked = parser.parse_args()
    recorder = Recorder(asked.url, asked.folder, asked.name, asked.model, asked.hide)
    if asked.page:
        recorder.chat(4)
        recorder.write(f"{asked.page}.txt", recorder.ask("/metrics"))
        return
    recorder.dialects()
    if asked.dialects:
        return
    recorder.pages()
    recorder.answers()
    recorder.orca()
    for path, suffix in ASIDE.items():
        recorder.aside(path, suffix)


if __name__ == "__main__":
    main()
