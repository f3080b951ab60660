"""The simulated engine on a port: routes, small pages, start and end."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Callable

import msgspec

from scheduling.simulation.engine.desk import READERS, Desk
from scheduling.simulation.engine.faults import Fault, FaultKind, Faults, parse_fault
from scheduling.simulation.engine.http import Connection, Exchange
from scheduling.simulation.engine.metrics_page import CONTENT_TYPE, MetricsPage
from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.options import EngineOptions
from scheduling.simulation.engine.prompts import COUNTERS, ApiError, bad_request, read_json
from scheduling.simulation.engine.request import Finish

SLOW_METRICS_S = 5.0
SAMPLE_VALUE = re.compile(rb"^([^#\n].*) \S+$", re.MULTILINE)
ENGINE_LINE = re.compile(rb"^(# (HELP|TYPE) )?vllm:.*\n", re.MULTILINE)
GARBAGE_PAGE = b"\x00\xff<html>vllm:num_requests_running{ eleven\nvllm:num_requests_waiting\n" * 20


class EngineServer:
    """One simulated engine on one port.

    ``start`` binds (OSError when the port is taken) and ``stop`` closes all.
    ``model`` may be read at any time: its gauges are exact. ``die`` is what
    happens when a failure ends the engine; by default it drops all
    connections and stops listening, as a killed process would.
    """

    def __init__(self, options: EngineOptions, die: Callable[[], None] | None = None) -> None:
        self.options = options
        self.model = EngineModel(options.engine_config(), options.costs())
        self.faults = Faults([parse_fault(text) for text in options.failures], options.seed)
        self.port = 0
        self._die = die or self.drop
        self._desk = Desk(options, self.model, self.faults, self._die)
        self._started_at_s = time.time()
        self._page = MetricsPage(self.model, options.model, self._desk.driver.lag, self._started_at_s)
        self._frozen_page = b""
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._routes: dict[tuple[str, str], Callable[[Exchange], None]] = {
            ("GET", "/health"): lambda exchange: exchange.reply(200),
            ("GET", "/ping"): lambda exchange: exchange.reply(200),
            ("GET", "/version"): lambda exchange: exchange.reply(200, b'{"version":"simulated"}'),
            # vLLM answers 0 unless it is started with --enable-server-load-tracking
            ("GET", "/load"): lambda exchange: exchange.reply(200, b'{"server_load":0}'),
            ("GET", "/metrics"): self._metrics,
            ("GET", "/v1/models"): self._models,
            ("GET", "/sim/state"): self._tell_state,
            ("GET", "/sim/failures"): self._tell_failures,
            ("POST", "/sim/failures"): self._set_failures,
            ("DELETE", "/sim/failures"): self._clear_failures,
            ("POST", "/sim/die"): lambda _: self._die(),
        }
        self._routes |= {("POST", path): self._desk.take for path in READERS}
        self._routes |= {("POST", path): self._desk.count for path in COUNTERS}

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken, ValueError when the certificate is no good."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._handle, self._connections, self.options.keep_alive_s),
            self.options.host,
            self.options.port,
            ssl=self.options.ssl_context(),
            backlog=2048,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything, answers in progress too."""
        self.drop()
        if self._server:
            await self._server.wait_closed()

    def drop(self) -> None:
        """Be gone at once: no more steps, no more listening, every connection reset."""
        self._desk.driver.stop()
        if self._server:
            self._server.close()
        for connection in tuple(self._connections):
            connection.reset()

    @property
    def url(self) -> str:
        """Where clients reach it, without a slash at the end."""
        scheme = "https" if self.options.ssl_certfile else "http"
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{scheme}://{host}:{self.port}"

    def _handle(self, exchange: Exchange) -> None:
        if self.options.api_key and exchange.path.startswith("/v1/") and not self._has_key(exchange):
            exchange.reply(401, b'{"error":"Unauthorized"}')
            return
        route = self._routes.get((exchange.method, exchange.path))
        try:
            if route is None:
                raise self._no_route(exchange)
            route(exchange)
        except ApiError as error:
            exchange.reply(error.status, error.body())

    def _has_key(self, exchange: Exchange) -> bool:
        given = exchange.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self.options.api_key}".encode())

    def _no_route(self, exchange: Exchange) -> ApiError:
        if any(path == exchange.path for _, path in self._routes):
            return ApiError(405, "Method Not Allowed", f"{exchange.method} is not for {exchange.path}")
        return ApiError(404, "Not Found", f"The simulated engine has no {exchange.path}")

    def _models(self, exchange: Exchange) -> None:
        model = {
            "id": self.options.model,
            "object": "model",
            "created": int(self._started_at_s),
            "owned_by": "vllm",
            "root": self.options.model,
            "parent": None,
            "max_model_len": self.model.config.max_model_len,
        }
        exchange.reply(200, msgspec.json.encode({"object": "list", "data": [model]}))

    def _tell_state(self, exchange: Exchange) -> None:
        """What an onlooker wants to know, also while the metrics page is made to fail."""
        model = self.model
        state = {
            "running": model.running,
            "waiting": model.waiting,
            "preemptions": model.stats.preemptions,
            "cached_tokens": model.stats.cached_tokens,
            "aborted": model.stats.success[Finish.ABORT],
        }
        exchange.reply(200, msgspec.json.encode(state))

    # failures

    def _tell_failures(self, exchange: Exchange) -> None:
        active = [str(fault) for fault in self.faults.active()]
        exchange.reply(200, msgspec.json.encode({"failures": active}))

    def _set_failures(self, exchange: Exchange) -> None:
        spelled = read_json(exchange.body).get("failures")
        if not isinstance(spelled, list):
            raise bad_request('send {"failures": ["reset_mid:3@0.1", …]}', "failures")
        try:
            self.faults.replace([parse_fault(str(text)) for text in spelled])
        except ValueError as error:
            raise bad_request(str(error), "failures") from None
        self._frozen_page = b""
        self._tell_failures(exchange)

    def _clear_failures(self, exchange: Exchange) -> None:
        self.faults.replace([])
        self._frozen_page = b""
        self._tell_failures(exchange)

    # metrics

    def _metrics(self, exchange: Exchange) -> None:
        fault = self.faults.for_metrics()
        if fault is None:
            exchange.reply(200, self._page.render(), CONTENT_TYPE)
        elif fault.kind is FaultKind.METRICS_500:
            exchange.reply(500, b"Internal Server Error", "text/plain")
        elif fault.kind is FaultKind.METRICS_SLOW:
            self._tell_late(exchange, fault)
        else:
            exchange.reply(200, self._broken_page(fault.kind), CONTENT_TYPE)

    def _tell_late(self, exchange: Exchange, fault: Fault) -> None:
        delay_s = SLOW_METRICS_S if fault.arg is None else fault.arg
        tell = asyncio.get_running_loop().call_later(
            delay_s, lambda: exchange.reply(200, self._page.render(), CONTENT_TYPE)
        )
        exchange.on_gone = tell.cancel

    def _broken_page(self, kind: FaultKind) -> bytes:
        if kind is FaultKind.METRICS_GARBAGE:
            return GARBAGE_PAGE
        if kind is FaultKind.METRICS_EMPTY:
            return ENGINE_LINE.sub(b"", self._page.render())
        if kind is FaultKind.METRICS_NAN:
            return SAMPLE_VALUE.sub(rb"\1 NaN", self._page.render())
        self._frozen_page = self._frozen_page or self._page.render()
        return self._frozen_page
