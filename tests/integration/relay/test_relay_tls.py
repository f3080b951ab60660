"""Engines behind TLS, IPv6, other names and other addresses; and on the product's own event loop."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import uvloop

from gateway.failures import AddressRefused, Broken, ConnectFailed, Stalled
from tests.fakes.certificates import certificate
from tests.fakes.faulty import CHUNKED_HEAD, answer, chunk, faulty_engine, says, stream
from tests.fakes.relay_client import BRIEF_S, DONE, JSON, PLAIN, TEXT, Client, relay_client


class Tls:
    """An engine's side of TLS, with what it heard of the client."""

    def __init__(self, folder: Path) -> None:
        own = certificate("localhost", "::1")
        self.ca_pem = own.pem
        self.names: list[str | None] = []
        self.context = own.server_side(folder)
        self.context.sni_callback = lambda _, name, __: self.names.append(name)


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


async def test_https_trusts_the_backends_own_authority_and_names_the_server(client: Client, tls: Tls) -> None:
    async with faulty_engine(says(stream(TEXT, DONE)), tls=tls.context) as engine:
        client.use(engine, "https://localhost:{port}", ca_pem=tls.ca_pem)
        await client.call()
        await client.call()

    assert client.got == (TEXT + DONE) * 2
    assert tls.names == ["localhost"]
    assert engine.connections == 1


@pytest.mark.parametrize(
    ("url", "ca"),
    [
        pytest.param("https://localhost:{port}", "system", id="an authority nobody knows"),
        pytest.param("https://127.0.0.1:{port}", "own", id="another name than the certificate's"),
        pytest.param("https://localhost:{port}", "broken", id="an authority that is no PEM"),
    ],
)
async def test_https_that_cannot_be_trusted_is_not_connected(
    client: Client, tls: Tls, url: str, ca: str
) -> None:
    ca_pem = {"system": "", "own": tls.ca_pem, "broken": "no certificate"}[ca]
    async with faulty_engine(says(stream(TEXT, DONE)), tls=tls.context) as engine:
        client.use(engine, url, ca_pem=ca_pem)
        failure = await client.failure()

    assert isinstance(failure, ConnectFailed)
    assert not engine.asked


async def test_tls_spoken_to_an_engine_without_it_is_not_connected(tls: Tls) -> None:
    async with (
        relay_client(connect_s=BRIEF_S) as client,
        faulty_engine(says(stream(TEXT, DONE))) as engine,
    ):
        client.use(engine, "https://localhost:{port}", ca_pem=tls.ca_pem)
        assert isinstance(await client.failure(), ConnectFailed)


async def test_an_ipv6_literal_is_an_address(client: Client, tls: Tls) -> None:
    async with faulty_engine(says(answer(JSON)), host="::1") as engine:
        client.use(engine, "http://[::1]:{port}/base")
        await client.call(PLAIN)
    async with faulty_engine(says(answer(JSON)), host="::1", tls=tls.context) as secure:
        client.use(secure, "https://[::1]:{port}", ca_pem=tls.ca_pem)
        await client.call(PLAIN)

    assert client.got == JSON * 2
    assert engine.asked[0].headers[b"host"] == b"[::1]:%d" % engine.port


async def test_the_next_address_is_tried_when_the_first_does_not_answer(client: Client) -> None:
    async with faulty_engine(says(answer(JSON)), host="127.0.0.1") as engine:
        client.use(engine, "http://localhost:{port}")  # ::1 first, where nobody listens, if there is IPv6
        await client.call(PLAIN)

    assert client.got == JSON


async def test_a_connection_that_hangs_is_given_up() -> None:
    with socket.socket() as listener:  # its backlog is full: further SYNs get no answer
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            async with relay_client(connect_s=BRIEF_S) as client, faulty_engine(says(b"")) as engine:
                engine.port = listener.getsockname()[1]
                client.use(engine)
                failure = await client.failure()

    assert isinstance(failure, ConnectFailed)
    assert failure.retryable


async def test_a_link_local_backend_is_refused_before_anybody_connects(client: Client) -> None:
    async with faulty_engine(says(answer(JSON))) as engine:
        client.use(engine, "http://169.254.169.254:{port}")
        failure = await client.failure(PLAIN)

    assert isinstance(failure, AddressRefused)


@pytest.mark.parametrize(
    "key", ["line\nbreak", "größe"], ids=["a line break in the key", "a letter no header can hold"]
)
async def test_a_key_that_would_break_the_head_is_refused(client: Client, key: str) -> None:
    async with faulty_engine(says(answer(JSON))) as engine:
        client.use(engine, api_key=key)
        failure = await client.failure(PLAIN)

    assert isinstance(failure, ConnectFailed)
    assert key not in str(failure)


def test_the_products_event_loop_behaves_the_same(tls: Tls) -> None:
    whole, broken = says(stream(TEXT, DONE)), says(CHUNKED_HEAD, chunk(TEXT), then="reset")
    stalls = says(CHUNKED_HEAD, chunk(TEXT), then="stall")

    async def scene(url: str, context: ssl.SSLContext | None) -> None:
        async with relay_client(stall_s=BRIEF_S) as client:
            async with faulty_engine(whole, broken, tls=context) as engine:
                client.use(engine, url, ca_pem=tls.ca_pem)
                await client.call()
                await client.call()
                assert (client.got, engine.connections) == ((TEXT + DONE) * 2, 1)
                client.use(engine, f"{url}/other", ca_pem=tls.ca_pem)
                assert isinstance(await client.failure(), Broken)
            async with faulty_engine(stalls, tls=context) as engine:
                client.use(engine, url, ca_pem=tls.ca_pem)
                assert isinstance(await client.failure(), Stalled)

    uvloop.run(scene("http://localhost:{port}", None))
    uvloop.run(scene("https://localhost:{port}", tls.context))
