"""An API token that may ask for some models only."""

from __future__ import annotations

import httpx2 as httpx
import pytest

from tests.fakes.faulty import faulty_engine, says
from tests.fakes.faulty_gateway import AUTH, BODY, CAST, CHAT, WHOLE
from tests.fakes.gateway import MODEL, running_gateway


@pytest.mark.parametrize(
    ("allowed", "status", "code"),
    [
        pytest.param((), 200, None, id="all"),
        pytest.param((MODEL, "other"), 200, None, id="this one"),
        pytest.param(("other",), 403, "model_not_allowed", id="another"),
    ],
)
async def test_a_token_for_some_models_is_served_by_those_and_shown_no_others(allowed, status, code) -> None:
    async with faulty_engine(says(WHOLE)) as engine:
        urls = {"gpu-0": f"http://127.0.0.1:{engine.port}"}
        callers = CAST.callers(models=frozenset(allowed))
        async with (
            running_gateway(CAST.policy(), callers, urls) as served,
            httpx.AsyncClient(base_url=served.url, headers=AUTH) as client,
        ):
            answer = await client.post(CHAT, json=BODY)
            unknown = await client.post(CHAT, json={**BODY, "model": "gpt-7"})
            listed = (await client.get("/v1/models")).json()["data"]
            shown = await client.get(f"/v1/models/{MODEL}")
            assert served.gateway.books.unsettled == 0
    assert answer.status_code == status
    if code:
        assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, "model")
    assert unknown.status_code == 404
    assert [each["id"] for each in listed] == ([MODEL] if status == 200 else [])
    assert shown.status_code == (200 if status == 200 else 404)
