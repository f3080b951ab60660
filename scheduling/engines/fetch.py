"""One GET at an engine, bounded in time and in bytes."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HttpTimeout

from scheduling.engines.endpoint import Endpoint
from scheduling.engines.exposition import MAX_PAGE_BYTES

CHUNK_BYTES = 64 * 1024
ACCEPT = "text/plain; version=0.0.4, application/json;q=0.9, */*;q=0.1"


class NoAnswer(Exception):
    """The engine gave no answer that can be used; the message says why. ``down``: nobody is there."""

    def __init__(self, message: str, *, down: bool = False) -> None:
        super().__init__(message)
        self.down = down


Client = urllib3.PoolManager | urllib3.HTTPConnectionPool


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. ``headers`` are by lower-case name."""

    status: int
    text: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Within:
    """How long some GETs may take together, and when that ends (monotonic)."""

    timeout_s: float
    ends_s: float

    @classmethod
    def of(cls, timeout_s: float) -> Within:
        """So long from now on."""
        return cls(timeout_s, time.monotonic() + timeout_s)

    def left_s(self) -> float:
        """What is left. Raises NoAnswer when nothing is."""
        if (left_s := self.ends_s - time.monotonic()) <= 0:
            raise self.over()
        return left_s

    def over(self) -> NoAnswer:
        """What is said of an engine that took longer."""
        return NoAnswer(f"timeout: no page within {self.timeout_s:g} s")


def get(client: Client, endpoint: Endpoint, url: str, within: Within, host: str = "") -> Answer:
    """The answer to a GET with the endpoint's API key. Follows no redirect, tries once.

    ``host`` is the Host header of a client for a numeric address. Raises
    NoAnswer: ``down`` when the connection was refused, the name is unknown or
    no way leads there; not for silence, which a busy engine keeps too.
    """
    try:
        answer = client.request(
            "GET",
            url,
            headers=_headers(endpoint, host),
            timeout=urllib3.Timeout(total=within.left_s()),
            preload_content=False,
            redirect=False,
            retries=False,
        )
    except (HTTPError, ValueError) as error:
        raise _named(error, within) from error
    try:
        text = _body(answer, within)
        return Answer(answer.status, text, {name.lower(): value for name, value in answer.headers.items()})
    finally:
        answer.release_conn()


def _headers(endpoint: Endpoint, host: str) -> dict[str, str]:
    headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}
    if host:
        headers["Host"] = host
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    return headers


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Trusts only ``ca_pem``, or the system's authorities when that is empty. Raises NoAnswer."""
    try:
        return ssl.create_default_context(cadata=ca_pem or None)
    except (ssl.SSLError, ValueError) as error:
        raise NoAnswer("the backend's ca_pem is no certificate in PEM form") from error


def _body(answer: urllib3.BaseHTTPResponse, within: Within) -> str:
    # Read piece by piece: a server that drips bytes never trips a read timeout.
    body = bytearray()
    problem = ""
    try:
        while not problem and (piece := answer.read1(CHUNK_BYTES)):
            body += piece
            if len(body) > MAX_PAGE_BYTES:
                problem = f"page too big: more than {MAX_PAGE_BYTES} bytes"
            elif time.monotonic() > within.ends_s:
                problem = f"timeout: the page took longer than {within.timeout_s:g} s"
    except HTTPError as error:
        answer.close()
        raise _named(error, within) from error
    if problem:
        answer.close()
        raise NoAnswer(problem)
    return body.decode("utf-8", errors="replace")


def _named(error: Exception, within: Within) -> NoAnswer:
    if isinstance(error, NewConnectionError):  # urllib3 counts it among the timeouts
        return NoAnswer(f"unreachable: {str(error).partition(': ')[2]}", down=True)
    if isinstance(error, HttpTimeout):
        return within.over()
    if isinstance(error, SSLError):
        return NoAnswer(f"TLS failed: {error}")
    return NoAnswer(f"unreachable: {error}")
