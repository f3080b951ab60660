"""The load that an engine tells with an answer, on its way from the relay to the control law."""

from __future__ import annotations

import time

import pytest
from openai import AsyncOpenAI

from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, running_plane

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


async def test_what_an_engine_tells_with_an_answer_reaches_the_control_feed(valkey, monkeypatch):
    async with running_engine(time_scale=50, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, engine="vllm")
        heard = []
        monkeypatch.setattr(plane.doors.plane._control, "hear", heard.append)
        async with AsyncOpenAI(base_url=f"{plane.url}/v1", api_key=secrets["chat"], max_retries=0) as client:
            asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
            await client.chat.completions.create(**asked)
            plane.doors.plane._hear("sim-0", b"nonsense")
    (load,) = heard
    assert (load.backend, load.error) == ("sim-0", "")
    assert load.waiting is not None
    assert load.kv_usage is not None
    assert time.time() - load.read_at_s < 60
