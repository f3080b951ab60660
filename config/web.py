"""One web process: uvicorn with our options, which drains the data plane before it closes connections.

    python -m config.web --host 127.0.0.1 --port 8000

uvicorn by itself would first mark running answers as the last of their
connection and cut what is left by an exception, and only then tell us.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from functools import partial
from typing import Any

import uvicorn
from django.conf import settings
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from config.memory import keep_freed
from config.protocol import BoundedGatewayHttp, BoundedHttp, HeadBounds

KEEP_ALIVE_S = 75  # longer than the 60 s of the usual load balancers, so that they close first
FRAME_BYTES = 1024  # of a WebSocket's frame around a body
LAST_WORDS_S = 1  # what uvicorn gets to close connections after the drain


class DrainingServer(uvicorn.Server):
    """Ends in order: new requests are refused, running ones end, the rest hear why, connections close."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, unless a second signal says that it must be at once."""
        drain = asyncio.create_task(_drain(self.config))
        while not drain.done() and not self.force_exit:
            await asyncio.wait([drain], timeout=0.1)
        drain.cancel()
        await super().shutdown(sockets)


async def _drain(config: uvicorn.Config) -> None:
    plane = _application(config).plane
    if plane is not None:
        await plane.drain()


def _application(config: uvicorn.Config) -> Any:
    """Ours, inside of what uvicorn puts around it when it trusts a proxy's headers."""
    found = config.loaded_app
    return found.app if isinstance(found, ProxyHeadersMiddleware) else found


def _protocol(bounds: HeadBounds, config: uvicorn.Config, **options: Any) -> asyncio.Protocol:
    """A connection: where this process has a gateway, with the short way to it."""
    serve = _application(config).serve
    if serve is None:
        return BoundedHttp(bounds, config=config, **options)
    slow_client_s = settings.KNOBS["FAIRLANE_SLOW_CLIENT_S"]
    return BoundedGatewayHttp(bounds, serve, slow_client_s, config=config, **options)


def main() -> None:
    """Serve until a signal comes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--host", required=True)
    options.add_argument("--port", type=int, required=True)
    chosen = options.parse_args()
    keep_freed(int(settings.KNOBS["FAIRLANE_KEPT_MEMORY_BYTES"]))
    DrainingServer(options_of("config.asgi:application", chosen.host, chosen.port)).run()


def options_of(application: Any, host: str, port: int) -> uvicorn.Config:
    """How uvicorn is to serve."""
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        loop="uvloop",
        # What makes a protocol is as good as its class.
        http=partial(_protocol, HeadBounds.from_knobs(settings.KNOBS)),  # type: ignore[arg-type]
        ws="websockets-sansio",
        ws_max_size=int(settings.KNOBS["FAIRLANE_BODY_BYTES"]) + FRAME_BYTES,
        lifespan="on",
        access_log=False,
        log_config=None,  # settings.LOGGING holds
        server_header=False,
        proxy_headers=bool(settings.CSRF_TRUSTED_ORIGINS),  # only an admin who has a proxy names origins
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=LAST_WORDS_S,
    )


if __name__ == "__main__":
    main()
