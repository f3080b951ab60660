"""What was asked and answered is kept nowhere: not in the database, not in a journal, not in a log."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import httpx2 as httpx
import pytest
from django.conf import settings
from django.db import connection

from gateway.models import UsageRecord
from scheduling import control_feed
from tests.fakes.faulty import answer, faulty_engine, says, stream
from tests.fakes.faulty_gateway import FINISH
from tests.fakes.plane import MODEL, read, running_plane

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

ASKED, SAID = "canary-of-a-prompt-7f3a", "canary-of-an-answer-91bc"
MINE = "canary-of-a-header-55d0"  # this one is kept
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % SAID.encode()
WHOLE = answer(b'{"choices":[{"message":{"content":"%s"}}]}' % SAID.encode())
REFUSED = answer(b'{"error":{"message":"you said %s"}}' % ASKED.encode(), "400 Bad Request")
BROKEN = answer(b'{"error":{"message":"I was at %s"}}' % SAID.encode(), "500 Internal Server Error")
CUT = stream(EVENT)[:-12]


def tables_that_hold(*words: str) -> dict[str, int]:
    """Rows of any table whose text has one of these."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" AS row WHERE row::text ~ %s', ["|".join(words)])
            if rows := cursor.fetchone()[0]:
                found[table] = rows
    return found


def files_that_hold(folder: Path, *words: str) -> list[Path]:
    """Files of ours below a folder that have one of these; PostgreSQL's are read as tables."""
    return [
        path
        for part in ("journal", "log")
        for path in (folder / part).rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]


async def test_a_word_of_a_prompt_and_one_of_an_answer_are_found_nowhere_afterwards(
    valkey, caplog, capfd, monkeypatch
):
    # Without a controller the gateway would come to ask the engine for its load, and hear a script instead.
    monkeypatch.setattr(control_feed, "ALONE_AFTER_PERIODS", 1000)
    scripts = tuple(
        says(reply, then="close") for reply in (stream(EVENT, FINISH), WHOLE, REFUSED, CUT, BROKEN)
    )
    data = Path(settings.DATA_DIR)
    told = []
    async with faulty_engine(*scripts) as engine, running_plane() as plane:
        url = SimpleNamespace(url=f"http://127.0.0.1:{engine.port}")
        secrets = await plane.setup([url], {"chat": {}})
        headers = {"authorization": f"Bearer {secrets['chat']}", "x-request-id": MINE}
        async with httpx.AsyncClient(base_url=plane.url, headers=headers) as client:
            for more in ({"stream": True}, {}, {}, {"stream": True}, {}, {"n": "one"}):
                body = {
                    "model": MODEL,
                    "messages": [{"role": "user", "content": ASKED}],
                    "user": "eve",
                    **more,
                }
                try:
                    told.append((await client.post("/v1/chat/completions", json=body)).text)
                except httpx.HTTPError:
                    told.append("")
            await client.post("/v1/chat/completions", content=b'{"messages": "%s' % ASKED.encode())
    assert any(SAID in text for text in told)
    assert await read(UsageRecord.objects.count) >= 4
    assert await read(tables_that_hold, MINE) == {"gateway_usagerecord": 5}, (
        "this way of looking finds things"
    )
    assert await read(tables_that_hold, ASKED, SAID) == {}
    assert files_that_hold(data, MINE) == [data / "log" / "access.jsonl"]
    assert files_that_hold(data, ASKED, SAID) == []
    lines = [json.loads(line) for line in (data / "log" / "access.jsonl").read_text().splitlines()]
    assert {line["outcome"] for line in lines if line["client_request_id"] == MINE} >= {
        "ok",
        "upstream_4xx",
    }
    out, err = capfd.readouterr()
    assert [word for word in (ASKED, SAID) if word in caplog.text + out + err] == []
