"""Demo data: a pool with two simulated engines, and tenants to watch."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from urllib.parse import urlsplit

from config.programs import ENGINE_SEATS, MODEL
from gateway.demo import GREEDY, QUIET
from gateway.models import ApiToken
from gateway.services import issue_token
from scheduling import selectors, services

POOL = "main"
BACKENDS = ("sim-0", "sim-1")
TENANT = "demo"
HOST = "127.0.0.1"
BY = "demo"


def wanted(*, asked: bool | None, embedded: bool) -> bool:
    """Whether to run the demo: as asked; else where no engine of one's own is configured."""
    if asked is not None:
        return asked
    names = set(selectors.backends().values_list("name", flat=True))
    return embedded and (not names or bool(names.intersection(BACKENDS)))


def seed() -> str | None:
    """Make the tenants, the pool and the model; the demo tenant's first API token, if it has none."""
    for slug in (TENANT, GREEDY, *QUIET):
        if not selectors.tenants().filter(slug=slug).exists():
            services.create_tenant(slug=slug, name=slug.replace("-", " ").capitalize(), by=BY)
    if not selectors.pools().filter(name=POOL).exists():
        services.create_pool(name=POOL, by=BY)
    if not selectors.served_models().filter(name=MODEL).exists():
        services.create_model(name=MODEL, pool=POOL, by=BY)
    if ApiToken.objects.filter(tenant__slug=TENANT).exists():
        return None
    return issue_token(tenant=TENANT, name="first start", by=BY).secret


def place_engines() -> dict[str, int]:
    """A port for each demo engine, the one of the last start where it is free; backends follow."""
    known = {backend.name: backend.url for backend in selectors.backends().filter(name__in=BACKENDS)}
    ports = _ports(known)
    for name, port in ports.items():
        url = f"http://{HOST}:{port}"
        if name not in known:
            # room for as many again as run at once: enough for an engine's own queue to be seen
            services.create_backend(
                name, POOL, url, by=BY, engine="vllm", models=[MODEL], max_in_flight=2 * ENGINE_SEATS
            )
        elif known[name] != url:
            services.change_backend(name, by=BY, url=url)
    return ports


def _ports(known: Mapping[str, str]) -> dict[str, int]:
    with ExitStack() as held:  # all at once, so that no port is given out twice
        probes = {
            name: held.enter_context(_bound(urlsplit(known.get(name, "")).port or 0)) for name in BACKENDS
        }
        return {name: int(probe.getsockname()[1]) for name, probe in probes.items()}


def _bound(port: int) -> socket.socket:
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, port))
    except OSError:
        probe.bind((HOST, 0))
    return probe
