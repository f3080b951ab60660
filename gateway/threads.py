"""Database work in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import connection

P = ParamSpec("P")
T = TypeVar("T")


def closing(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of the work; the thread's connection goes back to the pool, however it ends."""
    try:
        return work(*args, **kwargs)
    finally:
        connection.close()
