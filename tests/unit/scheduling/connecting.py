"""Engines for the connect test: a page engine that answers some paths, and a look at it."""

from __future__ import annotations

from pathlib import Path

from scheduling.engines import connect
from scheduling.engines.connect import ConnectReport
from scheduling.engines.endpoint import Endpoint

FAKES = Path(__file__).parents[2] / "fakes"
MODELS = '{"object": "list", "data": [{"id": "llama", "object": "model", "owned_by": "somebody"}]}'


def text(name: str) -> str:
    return (FAKES / name).read_text()


def serve(engine, pages: dict[str, str | int], **headers: str) -> None:
    """Answer these paths with a text or a status; /v1/models too, unless said otherwise."""
    found = {"/v1/models": MODELS, **pages}

    def answer(handler) -> None:
        said = found.get(handler.path, 404)
        status, body = (200, said) if isinstance(said, str) else (said, "")
        handler.say(body, status, **headers)

    engine.answer = answer


def look_at(engine, kind: str = connect.DETECT, **more) -> ConnectReport:
    return connect.test(Endpoint("new", **{"url": engine.url, **more, "engine": kind}))


def failed(report: ConnectReport) -> list[str]:
    return [step.name for step in report.steps if not step.ok]
