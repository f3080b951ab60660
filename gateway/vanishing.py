"""Clients that vanish without a word: no FIN, no RST."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

# Such a client is noticed after about 35 s, in line or mid-stream.
VANISHED = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
VANISHED_S = 35.0
# To the kernel bytes that a client does not read are unanswered too; it is to leave slow clients to us.
AFTER_SLOW_S = 5.0
LONGEST_MS = 2**31 - 1


def notice_vanishing(transport: Any, slow_client_s: float = 0.0) -> None:
    """Have the kernel watch whether the peer is still there, unless it does already.

    One that is there and does not read is let be for ``slow_client_s``.
    """
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # It may have left already, and that is heard another way; uvloop says ValueError for a closed socket.
    with suppress(OSError, ValueError):
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            return
        for level, option, value in VANISHED:
            sock.setsockopt(level, option, value)
        unanswered_ms = int(max(VANISHED_S, slow_client_s + AFTER_SLOW_S) * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, min(unanswered_ms, LONGEST_MS))
