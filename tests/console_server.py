"""The console as it is served: uvicorn, WebSockets, static files, on the tests' database.

with running_console() as url: ...
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.db import connections

from config.doors import ConsoleDoors
from dashboard.live import websocket

START_S = 10.0


@contextlib.contextmanager
def running_console() -> Iterator[str]:
    """The console on a free port, in a thread of its own."""
    pages = ConsoleDoors(get_asgi_application())
    app = ProtocolTypeRouter({"http": pages, "websocket": websocket})
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="console")
    thread.start()
    try:
        _wait_for(server)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
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
