"""The one timer of all requests."""

import asyncio
import weakref
from types import SimpleNamespace

import pytest

from gateway import pulse as pulses
from gateway.pulse import Pulse
from gateway.settings import Settings

TURNS = 5


async def test_a_stream_that_has_begun_is_not_looked_at_with_every_beat_as_one_that_waits_is(monkeypatch):
    pulse, looks, turns = Pulse(Settings()), [], iter(range(TURNS))
    pulse.clients |= {streaming := Looked(began=True), waiting := Looked(began=False)}

    async def turn(delay_s: float) -> None:
        if next(turns, None) is None:
            raise asyncio.CancelledError

    monkeypatch.setattr(pulses.asyncio, "sleep", turn)
    monkeypatch.setattr(pulse, "_look_at", lambda client, now_s: looks.append(client))
    with pytest.raises(asyncio.CancelledError):
        await pulse.beat()
    assert (looks.count(waiting), looks.count(streaming)) == (TURNS, 1)


async def test_a_client_that_was_looked_at_last_is_kept_no_longer_than_its_request(monkeypatch):
    pulse = Pulse(Settings())
    pulse.clients.add(client := Looked(began=False))
    gone = weakref.ref(client)
    del client
    kept: list[bool] = []

    async def turn(delay_s: float) -> None:
        if pulse.clients:
            if looks:
                pulse.clients.clear()  # its request is over
                kept.append(gone() is not None)
            return
        raise asyncio.CancelledError

    looks: list[float] = []
    monkeypatch.setattr(pulses.asyncio, "sleep", turn)
    monkeypatch.setattr(pulse, "_look_at", lambda _client, now_s: looks.append(now_s))
    with pytest.raises(asyncio.CancelledError):
        await pulse.beat()
    assert kept == [False]


class Looked(SimpleNamespace):
    __hash__ = object.__hash__
