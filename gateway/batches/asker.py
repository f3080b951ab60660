"""Asks a gateway over HTTP, from threads, and can be cut short from outside."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException
from threading import Event, Lock
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from gateway.batches.verdicts import Answer, Repeat, Wait, judge
from gateway.errors import error_body

MOST_TRIES = 3  # of a line that an engine fails on
MOST_ANSWER_BYTES = 32 * 1024 * 1024
AWAY_WAIT_S = 1.0  # the gateway is being started again
AWAY = "the gateway does not answer"
HTTPS = "https"
FAULTS = (OSError, HTTPException, HTTPError)
TOO_LARGE = error_body("The answer is larger than 32 MiB.", "server_error", "answer_too_large")
BROKEN = error_body(
    "The answer broke off, each time that it was asked for.", "server_error", "upstream_reset"
)


class Cut(Exception):
    """The asking was ended from outside; there is no answer."""


class Asker:
    """A client of one gateway. ``cut`` ends all that is being asked, from any thread."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._https = parts.scheme == HTTPS
        self._at = (parts.hostname or "localhost", parts.port or (443 if self._https else 80))
        self._timeout_s = timeout_s
        self._idle: list[HTTPConnection] = []
        self._busy: set[HTTPConnection] = set()
        self._lock = Lock()
        self._over = Event()

    def ask(self, path: str, headers: Callable[[], Mapping[str, str]], body: bytes) -> Answer | Wait:
        """The final answer, or how long the batch should wait. Raises Cut.

        ``headers`` are asked for by each try: the one before may have taken longer than a signature lasts.
        """
        for _ in range(MOST_TRIES):
            answer = self._once(path, headers(), body)
            if isinstance(answer, Wait):
                return answer
            verdict = judge(answer)
            if not isinstance(verdict, Repeat):
                return verdict
            if self._over.wait(min(verdict.seconds, AWAY_WAIT_S)):
                raise Cut
        return answer

    def cut(self) -> None:
        """End everything that is being asked, and all that follows."""
        self._over.set()
        with self._lock:
            for connection in self._busy:
                sock = connection.sock
                if sock is not None:
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connections; nothing is being asked any more."""
        for connection in self._idle:
            connection.close()

    def _once(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer | Wait:
        connection = self._take()
        try:
            connection.request("POST", path, body=body, headers=headers, preload_content=False)
            if self._over.is_set():  # cut while there was no socket to shut yet
                raise ConnectionAbortedError
            response = connection.getresponse()
        except FAULTS:
            self._drop(connection)
            return Wait(AWAY_WAIT_S, AWAY)
        try:
            data = response.read(MOST_ANSWER_BYTES + 1)
        except FAULTS:  # no gateway that is away: this line's answer may break off whenever it is asked
            self._drop(connection)
            return Answer(502, {}, BROKEN)
        whole = len(data) <= MOST_ANSWER_BYTES
        self._give_back(connection, good=whole)
        told = {name.lower(): value for name, value in response.headers.items()}
        return (
            Answer(response.status, told, data)
            if whole
            else Answer(502, {"x-should-retry": "false"}, TOO_LARGE)
        )

    def _take(self) -> HTTPConnection:
        with self._lock:
            if self._over.is_set():
                raise Cut
            while self._idle:
                connection = self._idle.pop()
                if connection.is_connected:  # the gateway has not closed it meanwhile
                    break
                connection.close()
            else:
                kind = HTTPSConnection if self._https else HTTPConnection
                connection = kind(*self._at, timeout=self._timeout_s)
            self._busy.add(connection)
            return connection

    def _drop(self, connection: HTTPConnection) -> None:
        """It has failed, or was cut. Raises Cut."""
        self._give_back(connection, good=False)
        if self._over.is_set():
            raise Cut from None

    def _give_back(self, connection: HTTPConnection, *, good: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            if good and not self._over.is_set():
                self._idle.append(connection)
            else:
                connection.close()
