"""What uvicorn serves: the data plane under /v1, the console, its live feed, and health pages.

``FAIRLANE_ROLE`` says which part this process is: ``gateway``, ``console``, or
both (the default). Nobody else builds a Gateway, Dispatcher or Ledger.
"""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
pages = get_asgi_application()  # before anything that reads a model

from config.doors import LIVE, ConsoleDoors, GatewayDoors, Lifespan, NoDoor, SocketDoors  # noqa: E402
from dashboard.live import websocket  # noqa: E402

ROLE = os.environ.get("FAIRLANE_ROLE", "both")


class Fairlane(ProtocolTypeRouter):
    """The application of one role. ``plane`` is its gateway, if it has one, and ``serve`` the way to it."""

    def __init__(self, role: str) -> None:
        console = NoDoor() if role == "gateway" else ConsoleDoors(pages)
        doors = console if role == "console" else GatewayDoors(console)
        self.plane = doors.plane if isinstance(doors, GatewayDoors) else None
        self.serve = doors.serve if isinstance(doors, GatewayDoors) else None
        live = {} if role == "gateway" else {LIVE: websocket}
        sockets = SocketDoors({**live, **(doors.sockets if isinstance(doors, GatewayDoors) else {})})
        super().__init__({"http": doors, "websocket": sockets, "lifespan": Lifespan(self.plane)})


application = Fairlane(ROLE)
