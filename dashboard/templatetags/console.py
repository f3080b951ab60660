"""Template filters of the console: the words of words.py."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone

from dashboard import words

register = template.Library()


@register.filter
def count(value: float | None) -> str:
    """A count in at most three digits."""
    return words.count(value)


@register.filter
def ago(moment: datetime | None) -> str:
    """A past moment relative to now."""
    return words.ago(moment, timezone.now())


@register.filter
def until(moment: datetime | None) -> str:
    """A future moment relative to now."""
    return words.until(moment, timezone.now())


@register.filter
def spoken(name: str) -> str:
    """A name of the code as words: token_fair becomes token fair."""
    return name.replace("_", " ")


@register.filter
def plain(value: Any) -> str:
    """A JSON value of the audit as a person writes it."""
    if value is None:
        return words.UNKNOWN
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {plain(inner)}" for key, inner in value.items() if inner not in ("", None, {}, [])
        )
    if isinstance(value, list):
        return ", ".join(plain(inner) for inner in value) or "none"
    return json.dumps(value)


@register.filter
def getitem(mapping: dict[str, Any], key: str) -> Any:
    """The value of a key, or nothing."""
    return mapping.get(key, "")
