"""The data plane's OpenAPI document: it names every path, and every answer is one that it declares."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest
import schemathesis

from gateway import openapi
from gateway.asides import ASIDES
from gateway.endpoints import ENDPOINTS
from tests.fakes.engine import running_engine
from tests.fakes.in_thread import in_thread
from tests.fakes.plane import MODEL, running_plane
from tests.integration.openapi.trial import operations, try_all

PATHS = openapi.document()["paths"]
SCHEMA = schemathesis.openapi.from_dict(dict(openapi.document()))


def first_name(path: str) -> str:
    return path.removeprefix("/v1/").partition("/")[0]


def is_served(path: str) -> bool:
    return path in ENDPOINTS or path == openapi.PATH or (first_name(path) in ASIDES and path not in ENDPOINTS)


def test_every_relayed_path_is_in_the_document_and_the_reverse() -> None:
    relayed = {path for path, item in PATHS.items() if item.get("post", {}).get("tags") == ["inference"]}

    assert relayed == ENDPOINTS.keys()


def test_every_path_that_is_answered_here_is_in_the_document_and_the_reverse() -> None:
    others = {first_name(path) for path in PATHS if path not in ENDPOINTS}

    assert others - {first_name(openapi.PATH)} == ASIDES.keys()


def test_every_operation_says_what_it_does_and_how_it_may_be_refused() -> None:
    found = [operation for item in PATHS.values() for operation in item.values()]
    assert len(found) > 25
    for operation in found:
        assert operation["summary"]
        assert operation["description"]
        assert operation["operationId"]
        if operation.get("security") != []:
            assert {"400", "401", "403", "404", "405", "429", "500", "503"} <= operation["responses"].keys()
    assert len({operation["operationId"] for operation in found}) == len(found)


def test_every_relayed_operation_names_the_headers_that_are_read() -> None:
    ref = "#/components/parameters/"
    names = {name: each["name"] for name, each in openapi.document()["components"]["parameters"].items()}
    for path in ENDPOINTS:
        said = {names[each["$ref"].removeprefix(ref)] for each in PATHS[path]["post"]["parameters"]}
        assert {"traceparent", "tracestate", "x-request-id", "idempotency-key"} <= said


@asynccontextmanager
async def product():
    async with running_engine(time_scale=1000, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=64)
        yield plane.url, secrets["chat"]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_every_answer_is_one_that_the_document_declares(valkey) -> None:
    with in_thread(product) as (url, secret):
        tried = try_all(SCHEMA, secret, is_served, base_url=url)
        shown = httpx.get(f"{url}{openapi.PATH}")
        refused = httpx.put(f"{url}{openapi.PATH}")
    print(f"\n{tried:,} made-up requests of {len(list(operations(SCHEMA)))} operations")
    assert shown.json() == openapi.document()
    assert shown.headers["x-request-id"]
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
