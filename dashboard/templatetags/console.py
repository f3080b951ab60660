"""Template filters of the console: the words of words.py and sentences.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django import template
from django.utils import timezone

from dashboard import sentences, words

register = template.Library()

register.filter("count", words.count)
register.filter("held", words.held)
register.filter("plain", sentences.plain)
register.filter("sentence", sentences.sentence)
register.filter("subject", sentences.subject)
register.filter("steps", sentences.steps)
register.filter("is_edit", sentences.is_edit)


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
def tone(status: str) -> str:
    """How a batch's status looks; what runs is busy."""
    return words.BATCH_TONES.get(status, "busy")


@register.filter
def at(texts: Mapping[str, str], key: str) -> str:
    """One of a board's facts by its key."""
    return texts.get(f"fact_{key}", "")
