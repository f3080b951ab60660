"""The gateways that are compared: how each is configured, started, and asked."""

from __future__ import annotations

from benchmarks.gateways.base import Gateway
from benchmarks.gateways.proxies import Haproxy, Nginx

PEERS: dict[str, type[Gateway]] = {gateway.name: gateway for gateway in (Nginx, Haproxy)}
