"""Where an engine is reached, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One backend's address. The key never shows in a repr or a log."""

    backend: str
    url: str  # http(s)://host[:port][/base], no trailing slash
    engine: str = "openai"
    api_key: str = field(default="", repr=False)
    ca_pem: str = field(default="", repr=False)  # trust only this CA; empty: the system's
    poll_every_ms: int | None = None  # how often its metrics are read; None: FAIRLANE_POLL_EVERY_S
    low_first: bool | None = None  # how its scheduler reads priorities; None: as engines of its kind do
