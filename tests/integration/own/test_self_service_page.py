"""The lines of docs/self-service.md work as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, running_plane

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

PAGE = Path(__file__).resolve().parents[3] / "docs" / "self-service.md"


def curl_lines(**values):
    """The page's curl commands, with its variables and its model filled in."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = "".join(blocks).replace("\\\n", " ").replace("demo-llama", MODEL)
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return [line for line in text.splitlines() if line.startswith("curl ")]


def request_of(line):
    """What curl would send."""
    words = iter(shlex.split(line, comments=True)[1:])
    sent = {"method": "GET", "headers": []}
    for word in words:
        if word == "-X":
            sent["method"] = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            sent["headers"].append((name, value))
        elif word == "-d":
            sent |= {"method": "POST", "content": next(words)}
        else:
            sent["url"] = word
    return sent


async def test_every_curl_line_of_the_page_is_answered(valkey):
    async with running_engine(time_scale=50, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}})
        auth = f"Authorization: Bearer {secrets['chat']}"
        asked = {"x-request-id": "mine", "authorization": f"Bearer {secrets['chat']}"}
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
        async with httpx.AsyncClient(timeout=10) as client:
            await client.post(f"{plane.url}/v1/chat/completions", json=body, headers=asked)
            lines = curl_lines(AUTH=auth, URL=plane.url, ID="mine")
            answers = [await client.request(**request_of(line)) for line in lines]

    assert len(lines) == 8
    assert [(line, answer.text) for line, answer in zip(lines, answers, strict=True) if answer.is_error] == []
