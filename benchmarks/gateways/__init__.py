"""The gateways that are compared: how each is configured, started, and asked."""

from __future__ import annotations

from benchmarks.gateways.base import Gateway
from benchmarks.gateways.packaged import Envoy, LiteLLM, Portkey, SglangRouter, TensorZero, VllmRouter
from benchmarks.gateways.proxies import Haproxy, Nginx

_ALL: tuple[type[Gateway], ...] = (
    Nginx,
    Haproxy,
    Envoy,
    VllmRouter,
    SglangRouter,
    TensorZero,
    Portkey,
    LiteLLM,
)
PEERS = {gateway.name: gateway for gateway in _ALL}
