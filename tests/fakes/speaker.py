"""An engine that stock clients can be tried on: it speaks their APIs, and each prompt says what it is to do.

A prompt that holds ``scene:NAME`` gets the answer that ``SCENES`` or
``FINALES`` has under that name, any other prompt a plain one.

with running_speaker() as speaker:
    speaker.url; speaker.visits; speaker.release()
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fakes.faulty import CHUNKED_HEAD, LAST_CHUNK, Asked, Peer, answer, chunk, faulty_engine
from tests.fakes.voices import ARGUMENTS, MODEL, USAGE, VOICES, WORDS, Chat, Voice, data

SCENE = re.compile(rb"scene:([a-z_]+)")
STREAM = re.compile(rb'"stream"\s*:\s*true')
CLOSING_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
VECTOR = [0.25, 0.5, 0.75]
TOO_LONG = "This model's maximum context length is 8192 tokens."


@dataclass(slots=True)
class Visit:
    """One request to the engine, and when the asking side hung up before the answer's end."""

    path: str
    scene: str
    body: bytes
    hung_up_s: float | None = None  # of time.monotonic()


@dataclass(slots=True)
class Speaker:
    """The engine, seen from a test in another thread."""

    url: str = ""
    visits: list[Visit] = field(default_factory=list)
    held: int = 0  # answers that wait for ``release``
    loop: asyncio.AbstractEventLoop | None = None
    _go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let all answers go on that are held now."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        self._go_on.set()
        self._go_on = asyncio.Event()

    async def meet(self, peer: Peer) -> None:
        """Answer one connection's requests."""
        while True:
            asked = await peer.request()
            found = SCENE.search(asked.body)
            visit = Visit(asked.line.split()[1].decode(), found[1].decode() if found else "say", asked.body)
            if asked.line.startswith(b"POST"):  # a gateway also reads the metrics
                self.visits.append(visit)
            if not await self._play(Scene(peer, asked, visit)):
                return

    async def _play(self, scene: Scene) -> bool:
        """False when the connection is to end."""
        path = scene.visit.path
        if path == "/v1/embeddings":
            await scene.peer.send(answer(json.dumps(_embedding(scene.asked.body)).encode()))
        elif path == "/v1/messages/count_tokens":
            await scene.peer.send(answer(b'{"input_tokens":7}'))
        elif path not in VOICES:
            await scene.peer.send(answer(b'{"detail":"Not Found"}', "404 Not Found"))
        elif finale := FINALES.get(scene.visit.scene):
            await self._hold(scene)
            return await finale(scene) is not HANG_UP
        else:
            return await SCENES[scene.visit.scene](scene) is not HANG_UP
        return True

    async def _hold(self, scene: Scene) -> None:
        """The first words, then nothing until it is let go."""
        await scene.begin(2)
        self.held += 1
        try:
            await self._wait(scene)
        finally:
            self.held -= 1

    async def _wait(self, scene: Scene) -> None:
        leaving = asyncio.ensure_future(scene.peer.reader.read(1))
        going = asyncio.ensure_future(self._go_on.wait())
        await asyncio.wait([leaving, going], return_when=asyncio.FIRST_COMPLETED)
        going.cancel()
        if leaving.done():
            scene.visit.hung_up_s = time.monotonic()
            raise ConnectionResetError
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """One request and the means to answer it."""

    peer: Peer
    asked: Asked
    visit: Visit

    @property
    def voice(self) -> Voice:
        return VOICES[self.visit.path]

    @property
    def stream(self) -> bool:
        return STREAM.search(self.asked.body) is not None

    @property
    def tool(self) -> bool:
        return self.visit.scene == "tool" and b'"role":"tool"' not in self.asked.body.replace(b" ", b"")

    async def say(self) -> None:
        """A whole answer, streamed or not as it was asked for."""
        if self.stream:
            await self.begin(0)
            await self.go_on(0)
        else:
            await self.peer.send(answer(json.dumps(self.voice.whole(tool=self.tool)).encode()))

    async def begin(self, words: int, head: bytes = CHUNKED_HEAD) -> None:
        """A stream's head and its first words."""
        await self.peer.send(head)
        await self.send(self.voice.opening(tool=self.tool))
        for word in WORDS[:words]:
            await self.send(self.voice.piece(word, tool=False))

    async def go_on(self, words: int) -> None:
        """The rest after so many words."""
        for word in ARGUMENTS if self.tool else WORDS[words:]:
            await self.send(self.voice.piece(word, tool=self.tool))
        await self.send(self.voice.closing(tool=self.tool))
        await self.peer.send(LAST_CHUNK)

    async def send(self, events: list[bytes]) -> None:
        await self.peer.send(*map(chunk, events))


HANG_UP = object()
Play = Callable[[Scene], Awaitable[object]]


async def _refuse(scene: Scene) -> None:
    error = {"message": TOO_LONG, "type": "BadRequestError", "param": None, "code": 400}
    await scene.peer.send(answer(json.dumps({"error": error}).encode(), "400 Bad Request"))


async def _die(scene: Scene) -> object:
    """The connection breaks."""
    await asyncio.sleep(0.02)  # what was sent must arrive first: a reset would throw it away
    scene.peer.reset()
    return HANG_UP


async def _die_half_way(scene: Scene) -> object:
    """Half of a JSON answer; then the connection breaks."""
    whole = answer(json.dumps(scene.voice.whole(tool=False)).encode())
    await scene.peer.send(whole[: -len(whole) // 4])
    return await _die(scene)


async def _say_fault(scene: Scene) -> None:
    await scene.send(scene.voice.fault())
    await scene.peer.send(LAST_CHUNK)


async def _fault(scene: Scene) -> None:
    await scene.begin(2)
    await _say_fault(scene)


async def _go_on(scene: Scene) -> None:
    await scene.go_on(2)


async def _end_early(scene: Scene) -> None:
    """Two words, and an end in good order that is not the stream's own."""
    await scene.begin(2)
    await scene.peer.send(LAST_CHUNK)


async def _break_off(scene: Scene) -> object:
    """Two words, and the end of the connection without the last chunk of HTTP."""
    await scene.begin(2)
    return HANG_UP


async def _close(scene: Scene) -> object:
    """Two words in an answer that lasts as long as its connection: its end cannot be told from a break."""
    await scene.peer.send(CLOSING_HEAD, *scene.voice.opening(tool=False))
    for word in WORDS[:2]:
        await scene.peer.send(*scene.voice.piece(word, tool=False))
    return HANG_UP


def _embedding(body: bytes) -> dict[str, object]:
    """Numbers, or the bytes of 32-bit floats: OpenAI's SDKs ask for those unless told not to."""
    packed = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    row = {"object": "embedding", "index": 0, "embedding": packed if b'"base64"' in body else VECTOR}
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return {"object": "list", "model": MODEL, "data": [row], "usage": usage}


def _after(*strange: bytes) -> Play:
    """A whole answer behind these strange events."""

    async def play(scene: Scene) -> None:
        await scene.peer.send(CHUNKED_HEAD)
        await scene.send(list(strange))
        await scene.send(scene.voice.opening(tool=False))
        await scene.go_on(0)

    return play


SCENES: dict[str, Play] = {
    "say": Scene.say,
    "tool": Scene.say,
    "refuse": _refuse,
    "die": _die_half_way,
    "fault": _fault,
    "end_early": _end_early,
    "break_off": _break_off,
    "close": _close,
    "comments": _after(*[b": queued position=1\n\n"] * 5),
    "ping": _after(b'event: ping\ndata: {"type": "ping"}\n\n'),
    "named": _after(b'event: queue\ndata: {"position": 1}\n\n'),
    "numbered": _after(b"id: 1\n: queued position=1\n\n"),
    "empty": _after(data({**Chat.head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})),
}
FINALES: dict[str, Play] = {  # of streams that stop after two words until ``release``
    "hold": _go_on,
    "hold_die": _die,
    "hold_fault": _say_fault,
}


@contextmanager
def running_speaker() -> Iterator[Speaker]:
    """The engine on a free port, in a thread of its own."""
    speaker, ready = Speaker(), threading.Event()

    async def serve() -> None:
        speaker.loop = asyncio.get_running_loop()
        async with faulty_engine(speaker.meet) as engine:
            speaker.url = f"http://127.0.0.1:{engine.port}"
            ended = asyncio.Event()
            stop.append(lambda: speaker.loop and speaker.loop.call_soon_threadsafe(ended.set))
            ready.set()
            await ended.wait()

    stop: list[Callable[[], object]] = []
    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="speaker")
    thread.start()
    assert ready.wait(10), "the engine did not start"
    try:
        yield speaker
    finally:
        stop[0]()
        thread.join(10)
