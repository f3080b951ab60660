"""What every page about queues and backends says first when control itself does not work."""

from __future__ import annotations

from typing import Any

from dashboard import words
from gateway.pictures import Picture


def alone(picture: Picture) -> dict[str, Any]:
    """A board's text and attributes for the notice: empty while all gateways hear the controller."""
    if not picture.alone:
        return {"text": {"notice": ""}, "attrs": {"notice": {"class": "notice"}}}
    who = words.plural(
        picture.alone, "gateway reads the engines itself", "gateways read the engines themselves"
    )
    return {
        "text": {"notice": f"Beat or worker is silent: {who} until they are back."},
        "attrs": {"notice": {"class": "notice note-box warn"}},
    }
