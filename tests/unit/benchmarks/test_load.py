"""The load generator counts what the fake engine sent, and knows where a message ends."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.load import shapes
from benchmarks.load.clients import Crowd, Tally
from benchmarks.load.engine import Engine, Script
from benchmarks.load.framing import Framer
from benchmarks.load.loop import Spinning
from benchmarks.load.run import Scenario, Target, figures_of

CLIENTS, ANSWERS = 3, 12
STREAM = shapes.STREAM_BEGIN + shapes.TOKEN % 7 + shapes.STREAM_END


class Few(Crowd):
    """Clients that ask no more when they have enough answers."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        super().__init__(port, requests)
        self.enough = asyncio.Event()
        self._asked = CLIENTS

    def go_on(self, client, now_ns):
        if self._asked < ANSWERS:
            self._asked += 1
            super().go_on(client, now_ns)
        elif self.tally.requests == ANSWERS:
            self.enough.set()


async def answers(script: Script) -> tuple[Engine, Tally]:
    """A few answers straight from the engine."""
    engine = Engine()
    await engine.listen()
    engine.play(script)
    scenario = Scenario("few", CLIENTS, stream=script.stream)
    crowd = Few(engine.port, Target("direct", engine.port, 0).requests(scenario))
    with Spinning() as loop:
        loop.steps += [engine.step, crowd.step]
        assert await crowd.connect(CLIENTS)
        crowd.begin(0.0)
        await asyncio.wait_for(crowd.enough.wait(), 10)
        crowd.close()
    engine.close()
    return engine, crowd.tally


@pytest.mark.parametrize("gap_ns", [pytest.param(0, id="back to back"), pytest.param(1000, id="paced")])
async def test_every_chunk_the_engine_sent_is_counted_once(gap_ns: int) -> None:
    engine, tally = await answers(Script(stream=True, chunks=(5, 9), gap_ns=gap_ns))

    assert (tally.requests, tally.errors) == (ANSWERS, 0)
    assert tally.chunks == engine.sent_chunks == ANSWERS * (5 + 9) // 2
    assert len(tally.first_token_ns) == ANSWERS
    assert len(tally.delay_ns) == tally.chunks - ANSWERS


async def test_a_plain_answer_is_a_request_without_chunks() -> None:
    engine, tally = await answers(Script(stream=False))

    assert (engine.answered, tally.requests, tally.errors) == (ANSWERS, ANSWERS, 0)
    assert tally.chunks == 0


@pytest.mark.parametrize("message", [shapes.ANSWER, STREAM], ids=["by length", "in chunks"])
def test_a_message_ends_with_its_last_byte_wherever_it_is_cut(message: bytes) -> None:
    for cut in range(1, len(message)):
        framer = Framer()

        assert [framer.feed(message[:cut]), framer.feed(message[cut:])] == [False, True]
        assert framer.feed(message)  # and the next one begins at its beginning


def test_a_refusal_is_an_error_with_its_words() -> None:
    crowd = Crowd(0, [b""])
    tally = crowd.tally

    tally.fail("429 of the first")
    tally.fail("500 of the second")

    assert (tally.errors, tally.first_error) == (2, "429 of the first")


def test_cpu_time_is_told_per_request_and_per_chunk() -> None:
    tally = Tally(requests=10, chunks=100)

    figures = figures_of(tally, took_ns=10**9, cpu_ns=2_000_000)

    assert (figures.cpu_us, figures.cpu_us_chunk) == (200.0, 20.0)
    assert (figures.rps, figures.chunks_s) == (10.0, 100.0)
