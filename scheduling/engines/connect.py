"""The connect test: is there an engine at this address, which one, and what does it tell?"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import urllib3
from django.conf import settings

from scheduling.engines import addresses, detect
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.exposition import BadPage
from scheduling.engines.fetch import Answer, Client, NoAnswer, Within, get, tls_context
from scheduling.engines.registry import TABLES
from scheduling.engines.table import Blind, Reading, Setup

DETECT = "detect"  # an endpoint's engine when nobody knows it yet
TOTAL_S = 5.0
STEP_S = 1.5  # one connection, one page
PORTS = {"http": 80, "https": 443}
SIGNALS = ("running", "waiting", "kv_usage", "preemptions_total", "work_total", "token_time")


@dataclass(frozen=True, slots=True)
class ConnectStep:
    """One thing looked at. ``mend`` says what to do when it is not ok."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class ConnectReport:
    """What was found, in the order it was looked at.

    ``engine`` is the engine that answers, "openai" when it cannot be told,
    empty when nobody answered. ``signals`` says which figures it tells.
    """

    steps: tuple[ConnectStep, ...]
    engine: str = ""
    models: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every step succeeded."""
        return all(step.ok for step in self.steps)


class Failed(Exception):
    """A step after which none of the others can be made."""

    def __init__(self, detail: str, mend: str) -> None:
        super().__init__(detail)
        self.mend = mend


def test(endpoint: Endpoint) -> ConnectReport:
    """Look at an engine; ``endpoint.engine`` may be "detect". Never raises, takes at most 5 s.

    What is resolved and checked is what is connected to. The API key goes to
    that address only, and no redirect is followed.
    """
    look = _Look(endpoint)
    # Names and headers that drip have no timeout of their own: whoever hangs in one is left behind.
    thread = threading.Thread(target=look.take, name="connect test", daemon=True)
    thread.start()
    thread.join(TOTAL_S)
    return look.report()


@dataclass(slots=True)
class _Look:
    endpoint: Endpoint
    ends_s: float = field(default_factory=lambda: time.monotonic() + TOTAL_S)  # monotonic
    steps: list[ConnectStep] = field(default_factory=list)
    engine: str = ""
    models: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    under_way: str = ""
    whole: bool = False
    host: str = ""
    port: int = 0
    secure: bool = False
    base: str = ""
    address: str = ""

    def take(self) -> None:
        """Make all steps, until one fails that the others need."""
        ways: list[tuple[str, Callable[[], str]]] = [
            ("address", self._parsed),
            ("name", self._resolved),
            ("connection", self._connected),
        ]
        if self.endpoint.url.startswith("https:"):
            ways.append(("TLS", self._trusted))
        if all(self._done(name, step) for name, step in ways):
            self._visit()
        self.whole = True

    def report(self) -> ConnectReport:
        """What was found; when that is not the whole, with the step that hangs."""
        steps = list(self.steps)
        if not self.whole:
            mend = "Something there takes a connection and then says nothing: look at the engine's log."
            steps.append(ConnectStep(self.under_way, False, f"no answer within {TOTAL_S:g} s", mend))
        return ConnectReport(tuple(steps), self.engine, self.models, self.signals)

    def _done(self, name: str, look: Callable[[], str]) -> bool:
        self.under_way = name
        try:
            step = ConnectStep(name, ok=True, detail=look())
        except Failed as failed:
            step = ConnectStep(name, ok=False, detail=str(failed), mend=failed.mend)
        self.steps.append(step)
        return step.ok

    def _left_s(self) -> float:
        return max(0.01, min(STEP_S, self.ends_s - time.monotonic()))

    def _parsed(self) -> str:
        mend = "Write it as http://host:port, with a base path if it has one, and without /v1."
        try:
            parts = urlsplit(self.endpoint.url)
            self.host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Failed(f"{self.endpoint.url!r} is no URL: {error}", mend) from None
        if (
            parts.scheme not in PORTS
            or not self.host
            or "@" in parts.netloc
            or not self.endpoint.url.isprintable()
        ):
            raise Failed(f"{parts.scheme}://{self.host} is no address of an engine", mend)
        self.secure, self.base = parts.scheme == "https", parts.path.rstrip("/")
        self.port = PORTS[parts.scheme] if port is None else port
        return f"{self.host}, port {self.port}"

    def _resolved(self) -> str:
        try:
            found = addresses.resolved(self.host, self.port)
        except (OSError, UnicodeError) as error:
            raise Failed(
                f"{self.host} could not be resolved: {error}",
                "Check the spelling, and that the machines that run Fairlane know this name.",
            ) from None
        allowed = settings.KNOBS["FAIRLANE_LINK_LOCAL_BACKENDS"]
        asked = [address for address in found if allowed or not addresses.is_link_local(address)]
        if not asked:
            raise Failed(
                f"{self.host} leads to {', '.join(found)}, a link-local address",
                "Clouds keep machine credentials there; FAIRLANE_LINK_LOCAL_BACKENDS=1 would allow it.",
            )
        self.address = asked[0]
        return f"{self.host} is {', '.join(asked)}"

    def _connected(self) -> str:
        try:
            with closing(socket.create_connection((self.address, self.port), self._left_s())):
                return f"{self.address} accepts connections at port {self.port}"
        except OSError as error:
            raise Failed(
                f"{self.address}, port {self.port}: {error}",
                "Check that the engine runs, listens on that address and not on localhost only, "
                "and that no firewall stands between.",
            ) from None

    def _trusted(self) -> str:
        try:
            context = tls_context(self.endpoint.ca_pem)
            with (
                closing(socket.create_connection((self.address, self.port), self._left_s())) as plain,
                context.wrap_socket(plain, server_hostname=self.host) as secured,
            ):
                return f"{secured.version()}, and the certificate is trusted"
        except NoAnswer as error:
            raise Failed(str(error), "Give the CA's certificate as ca_pem, in PEM form.") from None
        except ssl.SSLCertVerificationError as error:
            mend = "Give the authority's certificate as ca_pem; it must be made out to this host name."
            raise Failed(f"the certificate is not trusted: {error.verify_message}", mend) from None
        except OSError as error:  # ssl.SSLError is one
            raise Failed(
                f"TLS failed: {error}", "Check that this port speaks TLS, or write http://."
            ) from None

    def _visit(self) -> None:
        with closing(self._client()) as client:
            visit = detect.Visit(lambda path: self._get(client, path))
            self._done("models", lambda: self._listed(visit))
            self._done("engine", lambda: self._recognised(visit))
            self._done("metrics", lambda: self._measured(visit))

    def _client(self) -> urllib3.HTTPConnectionPool:
        if not self.secure:
            return urllib3.HTTPConnectionPool(self.address, self.port)
        return urllib3.HTTPSConnectionPool(
            self.address,
            self.port,
            ssl_context=tls_context(self.endpoint.ca_pem),
            server_hostname=self.host,
            assert_hostname=self.host,
        )

    def _get(self, client: Client, path: str) -> Answer:
        host = urlsplit(self.endpoint.url).netloc
        return get(
            client, self.endpoint, self.base + path, Within(STEP_S, time.monotonic() + self._left_s()), host
        )

    def _listed(self, visit: detect.Visit) -> str:
        try:
            answer = visit.answer("/v1/models")
            if answer.status != 200:
                raise Failed(f"/v1/models answered {answer.status}", _models_mend(answer.status))
            self.models = tuple(str(row["id"]) for row in detect.models(answer.text) if "id" in row)
        except (NoAnswer, BadPage) as error:
            raise Failed(f"/v1/models: {error}", _models_mend(0)) from None
        if not self.models:
            raise Failed("/v1/models lists no model", "Load a model in the engine.")
        return ", ".join(self.models)

    def _recognised(self, visit: detect.Visit) -> str:
        self.engine = found = detect.detect(visit)
        wanted = self.endpoint.engine
        if wanted in (DETECT, found) or found == "openai":
            return found if found != "openai" else "an OpenAI-compatible server that does not say which"
        raise Failed(f"{found} answers, and not {wanted}", f"Choose {found} as the backend's engine.")

    def _measured(self, visit: detect.Visit) -> str:
        wanted = self.endpoint.engine
        table = TABLES.get(self.engine if wanted == DETECT or self.engine != "openai" else wanted)
        if table is None or not table.pages:
            return "none: the window goes by first tokens and failures alone"
        try:
            reading = detect.reading(table, visit)
        except (Blind, BadPage) as error:
            raise Failed(str(error), f"{table.switch[:1].upper()}{table.switch[1:]}.") from None
        extra = detect.setup(table, visit)
        self.signals = _signals(reading, reading.setup.over(extra) if extra else reading.setup)
        return ", ".join(self.signals)


def _signals(reading: Reading, setup: Setup) -> tuple[str, ...]:
    told = [name for name in SIGNALS if getattr(reading, name) is not None]
    sizes = [name for name in ("max_requests", "kv_tokens") if getattr(setup, name) is not None]
    return (*told, *sizes)


def _models_mend(status: int) -> str:
    if status in {401, 403}:
        return "Give the engine's API key as api_key."
    if status == 404:
        return "Give the URL without /v1, and with the base path if the engine is behind one."
    if status == 503:
        return "The engine may still be loading its model: try again in a minute."
    return "Check that this is the port of the engine's OpenAI API."
