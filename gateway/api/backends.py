"""Backends."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from gateway.api.access import by
from gateway.api.connect import ConnectOut
from gateway.api.inputs import BackendChange, BackendIn, Why
from gateway.api.outputs import BackendOut, ReadingOut
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from scheduling import selectors, services
from scheduling.engines import connect
from scheduling.models import Backend

router = Router(tags=["backends"])


@router.get("", response=answers(Page[BackendOut]))
def list_backends(request: HttpRequest, query: Query[PageQuery]) -> object:
    """All backends, by name."""
    return page(selectors.backends(), query, "name")


@router.post("", response=answers(BackendOut, 201))
def create_backend(request: HttpRequest, body: BackendIn) -> object:
    """Add an engine to a pool."""
    services.create_backend(**body.given(), by=by(request), why=body.why)
    return Status(201, _found(body.name))


@router.get("/{name}", response=answers(BackendOut))
def read_backend(request: HttpRequest, name: str) -> object:
    """One backend."""
    return _found(name)


@router.patch("/{name}", response=answers(BackendOut))
def change_backend(request: HttpRequest, name: str, body: BackendChange) -> object:
    """Change a backend from the next dispatch on."""
    services.change_backend(name, **body.given(), by=by(request), why=body.why)
    return _found(name)


@router.delete("/{name}", response=answers(None, 204))
def delete_backend(request: HttpRequest, name: str) -> object:
    """Remove a backend with its readings."""
    services.delete_backend(name, by=by(request))
    return Status(204, None)


@router.post("/{name}/drain", response=answers(BackendOut))
def drain_backend(request: HttpRequest, name: str, body: Why) -> object:
    """Give a backend no new requests."""
    services.drain_backend(name, by=by(request), why=body.why)
    return _found(name)


@router.post("/{name}/resume", response=answers(BackendOut))
def resume_backend(request: HttpRequest, name: str, body: Why) -> object:
    """Give a draining backend requests again."""
    services.resume_backend(name, by=by(request), why=body.why)
    return _found(name)


@router.post("/{name}/test", response=answers(ConnectOut))
def look_at_backend(request: HttpRequest, name: str, body: Why) -> object:
    """Look at the backend's engine step by step: connection, models, engine, signals. At most 5 s."""
    _found(name)
    return connect.test(replace(selectors.endpoints()[name], engine=connect.DETECT))


@router.get("/{name}/readings", response=answers(Page[ReadingOut]))
def list_readings(request: HttpRequest, name: str, query: Query[PageQuery]) -> object:
    """What the engine said and which limit followed, newest first."""
    return page(_found(name).readings.all(), query, "-id")


def _found(name: str) -> Backend:
    return selectors.found(selectors.backends(), name=name)
