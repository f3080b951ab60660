"""Which addresses a backend may have."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

from scheduling.engines.addresses import is_link_local

LONGEST_CHARACTERS = 500  # what the column holds


def checked_url(url: str) -> str:
    """The URL without a trailing slash. Raises ValidationError that says what is wrong with it.

    Loopback and private addresses are usual for engines and allowed. Link-local
    ones are where clouds keep machine credentials, so they need the knob.
    """
    problem = _problem(url)
    if problem:
        raise ValidationError(
            {"url": f"{problem} Write it as http://host:port, with a base path if it has one."}
        )
    return url.rstrip("/")


def _problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # checked only when asked for
    except ValueError:
        return f"{url!r} is not a URL."
    host = parts.hostname or ""
    problems = (
        (parts.scheme not in ("http", "https"), "The URL must begin with http:// or https://."),
        (len(url) > LONGEST_CHARACTERS, f"The URL is longer than {LONGEST_CHARACTERS} characters."),
        (not host, "The URL has no host."),
        ("@" in parts.netloc, "The URL must hold no user or password: give the engine's API key as api_key."),
        ("?" in url or "#" in url, "The URL must end before any ? or #."),
        (
            _link_local(host) and not settings.KNOBS["FAIRLANE_LINK_LOCAL_BACKENDS"],
            f"{host} is a link-local address; FAIRLANE_LINK_LOCAL_BACKENDS=1 would allow it.",
        ),
    )
    return next((text for wrong, text in problems if wrong), "")


def _link_local(host: str) -> bool:
    try:
        return is_link_local(host)
    except ValueError:  # a name
        return False
