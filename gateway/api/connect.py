"""What the connect test answers."""

from __future__ import annotations

from ninja import Schema


class ConnectStepOut(Schema):
    """One thing looked at, with what to do when it is not ok."""

    name: str
    ok: bool
    detail: str
    mend: str


class ConnectOut(Schema):
    """What was found at a backend's address, in the order it was looked at."""

    ok: bool
    engine: str
    models: list[str]
    signals: list[str]
    steps: list[ConnectStepOut]
