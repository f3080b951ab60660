"""The one screen that `serve` prints when everything is up."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from config.programs import MODEL, Listen


@dataclass(frozen=True, slots=True)
class Welcome:
    """What this start has to tell, besides the URLs."""

    admin: str | None = None  # an admin who has to choose a password
    link: str | None = None  # the path of the link for it, only at the first start
    demo: bool = False
    secret: str | None = None  # the demo tenant's API token, only when it was made just now
    backends: int = 0


def text(listen: Listen, welcome: Welcome) -> str:
    """The screen. What is meant to be pasted stands at the beginning of its line."""
    parts = [_where(listen), _admin(listen, welcome)]
    if welcome.demo:
        parts += [_token(welcome), _examples(listen, welcome.secret)]
    elif not welcome.backends:
        parts.append(
            "No engine is configured. Add one in the console under Backends,\n"
            f"or from a file:  {command()} apply -f fairlane.yaml"
        )
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def command() -> str:
    """How the person at this terminal calls our commands."""
    if Path(sys.argv[0]).name != "manage.py":
        return "fairlane"
    python = Path(sys.executable)
    here = Path.cwd()
    shown = python.relative_to(here) if python.is_relative_to(here) else python
    return f"{shown} {os.path.relpath(sys.argv[0])}"


def _where(listen: Listen) -> str:
    return (
        "Fairlane is up. Ctrl-C stops everything.\n\n"
        f"  Console      {listen.console_url}\n"
        f"  API          {listen.gateway_url}/v1, described at {listen.console_url}/api/v1/data-plane/docs\n"
        f"  Control API  {listen.console_url}/api/v1, described at {listen.console_url}/api/v1/docs"
    )


def _admin(listen: Listen, welcome: Welcome) -> str:
    if welcome.link:
        return (
            f"Admin {welcome.admin!r} has no password yet. Choose one (the link works once, for an hour):\n\n"
            f"{listen.console_url}{welcome.link}"
        )
    if welcome.admin:
        renew = f"{command()} admin link {welcome.admin}"
        return f"Admin {welcome.admin!r} has no password yet. A new link:  {renew}"
    return ""


def _token(welcome: Welcome) -> str:
    if welcome.secret:
        return f"An API token of the tenant `demo` (shown this once, kept nowhere):\n\n{welcome.secret}"
    return f"Another API token of the tenant `demo`:  {command()} token issue demo --name NAME"


def _examples(listen: Listen, secret: str | None) -> str:
    token = secret or "$FAIRLANE_TOKEN"
    key = f'"{secret}"' if secret else 'os.environ["FAIRLANE_TOKEN"]'
    imports = "from openai import OpenAI" if secret else "import os\nfrom openai import OpenAI"
    hello = '[{"role": "user", "content": "Hello"}]'
    body = f'{{"model": "{MODEL}", "stream": true, "max_tokens": 60, "messages": {hello}}}'
    ask = f'model="{MODEL}", max_tokens=60, messages={hello}'
    return (
        "Ask for an answer, in a shell:\n\n"
        f"curl -N {listen.gateway_url}/v1/chat/completions"
        f' -H "Authorization: Bearer {token}" -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'\n\n"
        "or in Python, with `pip install openai`:\n\n"
        f"{imports}\n"
        f'client = OpenAI(base_url="{listen.gateway_url}/v1", api_key={key})\n'
        f"answer = client.chat.completions.create({ask})\n"
        "print(answer.choices[0].message.content)"
    )
