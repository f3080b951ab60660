"""The command line client `llm`, with an OpenAI-compatible model in its folder."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="llm-"))
os.environ["LLM_USER_PATH"] = str(FOLDER)  # before it is imported

from click.testing import CliRunner  # noqa: E402
from llm.cli import cli  # noqa: E402
from loop import LOOK_EVERY_S, now, serve  # noqa: E402

CALLED = []
FUNCTION = """
import sys

def get_weather(city: str) -> str:
    "The weather in a city."
    sys.modules["__main__"].CALLED.append(["get_weather", {"city": city}])
    return "sunny"
"""


class Failed(Exception):
    """The command ended with an error."""


class Driver:
    def arguments(self, call, *more):
        model = {"model_id": "fairlane", "model_name": call.model, "api_base": f"{call.url}/v1"}
        model |= {"api_key_name": "fairlane", "supports_tools": True, "headers": call.headers}
        (FOLDER / "extra-openai-models.yaml").write_text(json.dumps([model]))
        tools = ["--functions", FUNCTION] if call.tools else []
        options = ["--key", call.key, "-o", "max_tokens", "8", "--no-log", *tools, *more]
        return ["prompt", "-m", "fairlane", *options, call.prompt]

    def run(self, call, *more):
        CALLED.clear()
        ended = CliRunner().invoke(cli, self.arguments(call, *more))
        if ended.exit_code:
            raise Failed(ended.output or repr(ended.exception))
        return {"text": ended.output.removesuffix("\n"), "tools": list(CALLED)}

    def ask(self, call):
        return self.run(call, "--no-stream")

    def stream(self, call):
        return self.run(call)

    def leave(self, call):
        with self.process(call) as process:
            process.stdout.read(1)
            left = now()
            process.send_signal(signal.SIGINT)
            process.communicate()
        return left

    def leave_in_line(self, call):
        with self.process(call) as process:
            while not Path(call.until).exists():
                time.sleep(LOOK_EVERY_S)
            left = now()
            process.send_signal(signal.SIGINT)
            process.communicate()
        return left

    def process(self, call):
        command = [sys.executable, "-m", "llm", *self.arguments(call)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )


serve("llm", Driver())
