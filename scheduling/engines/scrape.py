"""Reads every engine's pages, all at once, and never takes silence for idleness."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import urllib3

from scheduling.core.limits import EngineLoad
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.exposition import BadPage
from scheduling.engines.fetch import Answer, NoAnswer, Within, get, tls_context
from scheduling.engines.registry import table_for
from scheduling.engines.table import NO_SETUP, Blind, Reading, Setup, Table

logger = logging.getLogger(__name__)

MAX_THREADS = 256  # one for every engine that hangs; a page that comes takes some milliseconds
GRACE_S = 0.25  # a read that its own timeout should have ended is waited for this much longer
# How long a page may take: its period, within these. Under a second a busy engine needs more than a short
# period; one that needs longer than two will not give a useful page.
SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S = 1.0, 2.0
SETUP_EVERY_S = 60.0  # configuration changes with the process only; a restart is noticed at once
FIRST_PAGE_EVERY_S = 60.0  # how often the best page is tried again while another one serves
ERROR_CHARACTERS = 200  # what the database keeps of an error


@dataclass(slots=True)
class Memory:
    """What the scraper remembers of one backend between readings. Times are monotonic seconds."""

    reading: Reading | None = None  # the last one: token times are a mean between two
    setup: Setup = NO_SETUP
    setup_again_s: float = 0.0  # when its configuration is asked for again
    page: int = 0  # which of the table's pages serves
    page_again_s: float = 0.0  # when the first one is tried again


class Scraper:
    """Reads engines over connections that it keeps open. Safe to share between threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_THREADS, "scrape")
        self._lock = threading.Lock()
        self._clients: dict[str, urllib3.PoolManager] = {}  # by CA
        self._memory: dict[Endpoint, Memory] = {}
        self._busy: dict[Endpoint, Future[EngineLoad]] = {}  # by the whole endpoint, as the memory is

    def read_all(self, endpoints: Sequence[Endpoint], timeout_s: float) -> list[EngineLoad]:
        """One EngineLoad per endpoint, in order; an ``error`` where there is no reading.

        Takes ``timeout_s`` (at most 2 s) and a little more, however many
        engines are silent. Engines without a metric page get an empty load,
        and no error while somebody answers.
        """
        limit_s = min(timeout_s, LONGEST_TIMEOUT_S)
        reads = {endpoint.backend: self.begin(endpoint, limit_s) for endpoint in endpoints}
        wait(reads.values(), limit_s + GRACE_S)
        self.forget_all_but(reads)
        return [result(backend, read, limit_s) for backend, read in reads.items()]

    def begin(self, endpoint: Endpoint, limit_s: float) -> Future[EngineLoad]:
        """The read of this engine, begun now, or the one that still runs: it is given no second thread."""
        with self._lock:
            if (read := self._busy.get(endpoint)) is None or read.done():
                read = self._busy[endpoint] = self._threads.submit(self.read, endpoint, limit_s)
            return read

    def forget_all_but(self, backends: Iterable[str]) -> None:
        """Drop what is remembered of other backends."""
        kept = set(backends)
        with self._lock:
            self._memory = {at: known for at, known in self._memory.items() if at.backend in kept}
            self._busy = {at: read for at, read in self._busy.items() if at.backend in kept}

    def close(self) -> None:
        """Close the kept connections; reads under way end by their own timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.clear()

    def read(self, endpoint: Endpoint, timeout_s: float) -> EngineLoad:
        """One engine's load. Never raises for what the engine does."""
        table = table_for(endpoint.engine)
        within = Within.of(timeout_s)
        asked_at_s = time.time()
        known = self._known(endpoint)
        try:
            if not table.pages:
                self._probe(endpoint, table, within)
                return EngineLoad(endpoint.backend, time.time())
            reading = self._reading(endpoint, table, known, within)
        except (NoAnswer, BadPage, Blind) as problem:
            known.setup_again_s = 0.0  # it may come back as another process
            down = isinstance(problem, NoAnswer) and problem.down
            error = str(problem)[:ERROR_CHARACTERS]
            return EngineLoad(endpoint.backend, time.time(), error=error, down=down)
        load = reading.load(endpoint.backend, asked_at_s, known.reading)
        self._learn(endpoint, table, known, reading, within)
        return replace(load, max_requests=known.setup.max_requests, kv_tokens=known.setup.kv_tokens)

    def _probe(self, endpoint: Endpoint, table: Table, within: Within) -> None:
        """Raises NoAnswer when nobody is there. Any answer is one, and silence is not yet a death."""
        try:
            self._get(endpoint, table.probe, within)
        except NoAnswer as problem:
            if problem.down:
                raise

    def _reading(self, endpoint: Endpoint, table: Table, known: Memory, within: Within) -> Reading:
        now_s = time.monotonic()
        first = known.page if now_s < known.page_again_s else 0
        for n, page in enumerate(table.pages[first:], start=first):
            answer = self._get(endpoint, page.path, within)
            if answer.status == 404:
                continue
            _check_status(answer.status)
            if first == 0:
                known.page, known.page_again_s = n, now_s + FIRST_PAGE_EVERY_S
            try:
                return table.read(answer.text, page)
            except BadPage:
                if n == 0:
                    raise
        known.page = 0
        raise NoAnswer(f"metrics are switched off (404); {table.switch}")

    def _learn(
        self, endpoint: Endpoint, table: Table, known: Memory, reading: Reading, within: Within
    ) -> None:
        """Remember the reading, and the configuration: what the page says of it, or else its own pages."""
        new = known.reading is None or known.reading.started_at_s != reading.started_at_s
        known.reading = reading
        if not table.setup:
            known.setup = reading.setup
        elif new or time.monotonic() >= known.setup_again_s:
            known.setup_again_s = time.monotonic() + SETUP_EVERY_S
            known.setup = reading.setup.over(self._asked_setup(endpoint, table, within))

    def _asked_setup(self, endpoint: Endpoint, table: Table, within: Within) -> Setup:
        # The load is read already: a page of configuration that fails takes nothing from it.
        for page in table.setup:
            try:
                answer = self._get(endpoint, page.path, within)
                if answer.status == 200 and (setup := table.read_setup(answer.text, page)) != NO_SETUP:
                    return setup
            except (NoAnswer, BadPage, Blind):
                continue
        return NO_SETUP

    def _get(self, endpoint: Endpoint, path: str, within: Within) -> Answer:
        return get(self._client(endpoint), endpoint, endpoint.url + path, within)

    def _client(self, endpoint: Endpoint) -> urllib3.PoolManager:
        with self._lock:
            if (client := self._clients.get(endpoint.ca_pem)) is None:
                context = tls_context(endpoint.ca_pem)
                client = urllib3.PoolManager(num_pools=256, maxsize=2, ssl_context=context)
                self._clients[endpoint.ca_pem] = client
            return client

    def _known(self, endpoint: Endpoint) -> Memory:
        # By the whole endpoint: at another address another engine answers.
        with self._lock:
            return self._memory.setdefault(endpoint, Memory())


def limited(period_s: float) -> float:
    """How long a read may take, in seconds, when the engine is read every ``period_s``."""
    return min(max(period_s, SHORTEST_TIMEOUT_S), LONGEST_TIMEOUT_S)


def result(backend: str, read: Future[EngineLoad], limit_s: float) -> EngineLoad:
    """What a read has brought; a timeout when it still runs.

    Whatever a page made of our own code is an error of its engine alone: the others are read with it.
    """
    if read.done():
        if (fault := read.exception()) is None:
            return read.result()
        logger.error("Backend %s: its page could not be read", backend, exc_info=fault)
        return EngineLoad(backend, time.time(), error=f"broken page: {fault!r}"[:ERROR_CHARACTERS])
    # A server that drips its headers: the thread stays with it, and no second one is spent on it.
    return EngineLoad(backend, time.time(), error=f"timeout: no page within {limit_s:g} s")


def _check_status(status: int) -> None:
    if status in {401, 403}:
        raise NoAnswer(f"the engine refuses our API key for its metrics ({status})")
    if 300 <= status < 400:
        raise NoAnswer(f"the engine redirects its metrics elsewhere ({status}); give the final URL")
    if status != 200:
        raise NoAnswer(f"the engine answered {status} for its metrics")
