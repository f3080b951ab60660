"""The console as it is served: uvicorn, WebSockets, static files, on the tests' database.

with running_console() as console: ...  # console.url
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.db import connections

from config.doors import ConsoleDoors
from dashboard.live import websocket

START_S = 10.0


class Console:
    """Counts the requests and WebSockets that are not over yet: until then each may use the database.

    Django lets none be over before the thread that runs its view is.
    """

    url = ""

    def __init__(self) -> None:
        pages = ConsoleDoors(get_asgi_application())
        self._app = ProtocolTypeRouter({"http": pages, "websocket": websocket})
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.running -= 1


@contextlib.contextmanager
def running_console() -> Iterator[Console]:
    """The console on a free port, in a thread of its own."""
    app = Console()
    listener = socket.create_server(("127.0.0.1", 0))
    app.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="console")
    thread.start()
    try:
        _wait_for(server)
        yield app
    finally:
        server.should_exit = True
        thread.join(START_S)
        listener.close()
        connections.close_all()


def _wait_for(server: uvicorn.Server) -> None:
    ends_s = time.monotonic() + START_S
    while not server.started:
        assert time.monotonic() < ends_s, "the console did not start"
        time.sleep(0.01)
