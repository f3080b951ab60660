"""Reads every engine's metric page at once, and never takes silence for idleness."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HttpTimeout

from scheduling.core.limits import EngineLoad
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.exposition import MAX_PAGE_BYTES, BadPage
from scheduling.engines.registry import table_for
from scheduling.engines.table import Blind, Reading, Table

MAX_THREADS = 32  # pages read at the same time; a page takes some milliseconds
GRACE_S = 0.25  # a read that its own timeout should have ended is waited for this much longer
LONGEST_TIMEOUT_S = 2.0  # an engine that needs longer for a page will not give a useful one
CHUNK_BYTES = 64 * 1024
ERROR_CHARACTERS = 200  # what the database keeps of an error


class NoReading(Exception):
    """There is no reading; the message says why."""


class Scraper:
    """Reads engines over connections that it keeps open. Safe to share between threads.

    It remembers the last reading of each backend, because the time per
    output token is a mean between two readings.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_THREADS, "scrape")
        self._lock = threading.Lock()
        self._clients: dict[str, urllib3.PoolManager] = {}  # by CA
        self._before: dict[str, Reading] = {}
        self._busy: dict[str, Future[EngineLoad]] = {}

    def read_all(self, endpoints: Sequence[Endpoint], timeout_s: float) -> list[EngineLoad]:
        """One EngineLoad per endpoint, in order; an ``error`` where there is no reading.

        Takes ``timeout_s`` (at most 2 s) and a little more, however many
        engines are silent. Engines without a metric page get an empty load
        and no error.
        """
        limit_s = min(timeout_s, LONGEST_TIMEOUT_S)
        reads = {endpoint.backend: self._begin(endpoint, limit_s) for endpoint in endpoints}
        wait(reads.values(), limit_s + GRACE_S)
        self._forget_all_but(reads)
        return [_result(backend, read, limit_s) for backend, read in reads.items()]

    def close(self) -> None:
        """Close the kept connections; reads under way end by their own timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.clear()

    def _begin(self, endpoint: Endpoint, limit_s: float) -> Future[EngineLoad]:
        with self._lock:
            if (read := self._busy.get(endpoint.backend)) is None or read.done():
                read = self._threads.submit(self.read, endpoint, limit_s)
                self._busy[endpoint.backend] = read
            return read

    def read(self, endpoint: Endpoint, timeout_s: float) -> EngineLoad:
        """One engine's load. Never raises for what the engine does."""
        table = table_for(endpoint.engine)
        if not table.path:
            return EngineLoad(endpoint.backend, time.time())
        asked_at_s = time.time()
        try:
            page = self._page(endpoint, table, timeout_s)
            reading = table.read(page)
        except (NoReading, BadPage, Blind) as error:
            return EngineLoad(endpoint.backend, time.time(), error=str(error)[:ERROR_CHARACTERS])
        with self._lock:
            before = self._before.get(endpoint.backend)
            self._before[endpoint.backend] = reading
        return reading.load(endpoint.backend, asked_at_s, before)

    def _page(self, endpoint: Endpoint, table: Table, timeout_s: float) -> str:
        ends_s = time.monotonic() + timeout_s
        headers = {"Accept": "text/plain; version=0.0.4", "Accept-Encoding": "identity"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        try:
            answer = self._client(endpoint).request(
                "GET",
                endpoint.url + table.path,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout_s),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except (HTTPError, ValueError) as error:
            raise NoReading(_named(error, timeout_s)) from error
        try:
            _check_status(answer.status, table)
            return _body(answer, ends_s, timeout_s)
        finally:
            answer.release_conn()

    def _client(self, endpoint: Endpoint) -> urllib3.PoolManager:
        with self._lock:
            if (client := self._clients.get(endpoint.ca_pem)) is None:
                client = urllib3.PoolManager(num_pools=256, maxsize=2, ssl_context=_context(endpoint.ca_pem))
                self._clients[endpoint.ca_pem] = client
            return client

    def _forget_all_but(self, backends: Iterable[str]) -> None:
        kept = set(backends)
        with self._lock:
            self._before = {name: reading for name, reading in self._before.items() if name in kept}
            self._busy = {name: read for name, read in self._busy.items() if name in kept}


def _result(backend: str, read: Future[EngineLoad], limit_s: float) -> EngineLoad:
    if read.done():
        return read.result()
    # A server that drips its headers: the thread stays with it, and no second one is spent on it.
    return EngineLoad(backend, time.time(), error=f"timeout: no page within {limit_s:g} s")


def _context(ca_pem: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca_pem or None)
    except (ssl.SSLError, ValueError) as error:
        raise NoReading("the backend's ca_pem is no certificate in PEM form") from error


def _check_status(status: int, table: Table) -> None:
    if status == 404:
        raise NoReading(f"metrics are switched off (404); {table.switch}")
    if status in {401, 403}:
        raise NoReading(f"the engine refuses our API key for its metrics ({status})")
    if 300 <= status < 400:
        raise NoReading(f"the engine redirects its metrics elsewhere ({status}); give the final URL")
    if status != 200:
        raise NoReading(f"the engine answered {status} for its metrics")


def _body(answer: urllib3.BaseHTTPResponse, ends_s: float, timeout_s: float) -> str:
    # Read piece by piece: a server that drips bytes never trips a read timeout.
    body = bytearray()
    try:
        while piece := answer.read1(CHUNK_BYTES):
            body += piece
            if len(body) > MAX_PAGE_BYTES:
                answer.close()
                raise NoReading(f"page too big: more than {MAX_PAGE_BYTES} bytes")
            if time.monotonic() > ends_s:
                answer.close()
                raise NoReading(f"timeout: the page took longer than {timeout_s:g} s")
    except HTTPError as error:
        answer.close()
        raise NoReading(_named(error, timeout_s)) from error
    return body.decode("utf-8", errors="replace")


def _named(error: Exception, timeout_s: float) -> str:
    if isinstance(error, NewConnectionError):  # urllib3 counts it among the timeouts
        return f"unreachable: {str(error).partition(': ')[2]}"
    if isinstance(error, HttpTimeout):
        return f"timeout: no page within {timeout_s:g} s"
    if isinstance(error, SSLError):
        return f"TLS failed: {error}"
    return f"unreachable: {error}"
