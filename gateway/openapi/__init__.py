"""The OpenAPI document of the data plane: ``v1.yaml``, served as JSON to whoever asks."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from gateway.dialect import OPENAI
from gateway.errors import GetOnly
from gateway.headers import JSON, RequestId
from gateway.visit import READ

PATH = "/v1/openapi.json"
SOURCE = Path(__file__).with_name("v1.yaml")
ANCHORS = "x-shared"  # where the source keeps what it says once


@functools.cache
def document() -> Mapping[str, Any]:
    """The document, read once."""
    # The loader in C is ten times as fast, but a PyYAML without it may be installed.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    whole = yaml.load(SOURCE.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader
    return {name: value for name, value in whole.items() if name != ANCHORS}


@functools.cache
def as_json() -> bytes:
    """The document as it is served."""
    return msgspec.json.encode(document())


async def serve_document(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application that answers with the document, to anybody: it tells nothing of any tenant."""
    request_id = RequestId.of(dict(scope["headers"]))
    status, headers = 200, [(b"content-type", JSON)]
    if scope["method"] in READ:
        body = await asyncio.to_thread(as_json)
    else:
        refused = GetOnly()
        status = refused.status
        headers, body = OPENAI.refusal(refused, request_id)
    headers = [*headers, *request_id.headers(), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
