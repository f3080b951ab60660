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


def get(client: Client, endpoint: Endpoint, url: str, timeout_s: float, host: str = "") -> Answer:
    """The answer to a GET with the endpoint's API key. Follows no redirect, tries once.

    ``host`` is the Host header where the client was made for a numeric address.

    Raises NoAnswer: ``down`` when the connection was refused, the name is
    unknown or no way leads there; not for silence, which a busy engine keeps too.
    """
    if timeout_s <= 0:
        raise NoAnswer("timeout: no time was left for this page")
    ends_s = time.monotonic() + timeout_s
    headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}
    if host:
        headers["Host"] = host
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    try:
        answer = client.request(
            "GET",
            url,
            headers=headers,
            timeout=urllib3.Timeout(total=timeout_s),
            preload_content=False,
            redirect=False,
            retries=False,
        )
    except (HTTPError, ValueError) as error:
        raise _named(error, timeout_s) from error
    try:
        text = _body(answer, ends_s, timeout_s)
        return Answer(answer.status, text, {name.lower(): value for name, value in answer.headers.items()})
    finally:
        answer.release_conn()


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Trusts only ``ca_pem``, or the system's authorities when that is empty. Raises NoAnswer."""
    try:
        return ssl.create_default_context(cadata=ca_pem or None)
    except (ssl.SSLError, ValueError) as error:
        raise NoAnswer("the backend's ca_pem is no certificate in PEM form") from error


def _body(answer: urllib3.BaseHTTPResponse, ends_s: float, timeout_s: float) -> str:
    # Read piece by piece: a server that drips bytes never trips a read timeout.
    body = bytearray()
    problem = ""
    try:
        while not problem and (piece := answer.read1(CHUNK_BYTES)):
            body += piece
            if len(body) > MAX_PAGE_BYTES:
                problem = f"page too big: more than {MAX_PAGE_BYTES} bytes"
            elif time.monotonic() > ends_s:
                problem = f"timeout: the page took longer than {timeout_s:.2g} s"
    except HTTPError as error:
        answer.close()
        raise _named(error, timeout_s) from error
    if problem:
        answer.close()
        raise NoAnswer(problem)
    return body.decode("utf-8", errors="replace")


def _named(error: Exception, timeout_s: float) -> NoAnswer:
    if isinstance(error, NewConnectionError):  # urllib3 counts it among the timeouts
        return NoAnswer(f"unreachable: {str(error).partition(': ')[2]}", down=True)
    if isinstance(error, HttpTimeout):
        return NoAnswer(f"timeout: no page within {timeout_s:.2g} s")
    if isinstance(error, SSLError):
        return NoAnswer(f"TLS failed: {error}")
    return NoAnswer(f"unreachable: {error}")
