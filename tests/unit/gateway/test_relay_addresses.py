"""URLs are taken apart, resolved and checked before anybody connects."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.addresses import Target, resolve
from gateway.failures import AddressRefused, ConnectFailed, NameUnknown
from scheduling.core.outcome import Outcome
from scheduling.engines.addresses import is_link_local
from scheduling.engines.endpoint import Endpoint


def target(url: str) -> Target:
    return Target.of(Endpoint("gpu-0", url))


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://gpu:8000", (False, "gpu", 8000, b"", b"gpu:8000")),
        ("http://gpu", (False, "gpu", 80, b"", b"gpu")),
        ("https://gpu", (True, "gpu", 443, b"", b"gpu")),
        ("https://gpu:443/", (True, "gpu", 443, b"", b"gpu")),
        ("http://gpu:443/a/b", (False, "gpu", 443, b"/a/b", b"gpu:443")),
        ("http://[::1]:8000", (False, "::1", 8000, b"", b"[::1]:8000")),
        ("https://größe.example/v", (True, "xn--grsse-kua.example", 443, b"/v", b"xn--grsse-kua.example")),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[object, ...]) -> None:
    found = target(url)

    assert (found.secure, found.host, found.port, found.base, found.host_header) == parts


@pytest.mark.parametrize(
    "url",
    [
        "", "gpu:8000", "file:///etc/passwd", "ftp://gpu", "http://", "http://user:pw@gpu", "http://gpu:99999",
        "http://gpu\r\nhost: x", "http://gpu/größe", "http://[::1", "http://gpu/a b", "http://" + "a" * 70,
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_says_whose_it_is(url: str) -> None:
    with pytest.raises(ConnectFailed, match="gpu-0"):
        target(url)


@pytest.mark.parametrize(
    ("address", "link_local"),
    [
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("fe80::1", True),
        ("fe80::1%2", True),
        ("febf::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("::1", False),
        ("fd00::1", False),
        ("169.253.1.1", False),
    ],
)
def test_link_local_addresses_are_known(address: str, *, link_local: bool) -> None:
    assert is_link_local(address) is link_local


async def test_a_link_local_address_is_refused_unless_allowed() -> None:
    with pytest.raises(AddressRefused, match="FAIRLANE_LINK_LOCAL_BACKENDS"):
        await resolve(target("http://169.254.169.254"), link_local=False)

    assert await resolve(target("http://169.254.169.254"), link_local=True) == ["169.254.169.254"]


async def test_of_several_addresses_only_the_allowed_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.0.9", 80)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.9", 80)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.9", 80)),
    ]

    async def getaddrinfo(*args: object, **kwargs: object) -> object:
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    assert await resolve(target("http://rebinds"), link_local=False) == ["10.0.0.9"]
    assert await resolve(target("http://rebinds"), link_local=True) == [
        "fe80::1%3",
        "169.254.0.9",
        "10.0.0.9",
    ]


async def test_an_unknown_name_is_a_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    with pytest.raises(NameUnknown, match="gpu could not be resolved") as caught:
        await resolve(target("http://gpu"), link_local=False)
    assert caught.value.outcome == Outcome.DNS_FAIL
    assert caught.value.retryable
