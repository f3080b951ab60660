"""For how long an API token lets the status line of its waiting streams be held back, as people write it."""

from __future__ import annotations

import math

from django.core.exceptions import ValidationError

HOLD = "hold_status_s"  # the field
FOREVER = "inf"  # as the header x-hold-ms has it; JSON has no such number
MEANING = "Seconds until a stream in line gets 200 and comments; inf: never; null: FAIRLANE_HOLD_STATUS_S."
PROBLEM = "Write seconds from 0, or inf for never. Leave it empty, or out, for FAIRLANE_HOLD_STATUS_S."

WrittenHold = float | str | None


def read_hold(written: WrittenHold) -> float | None:
    """Seconds, maybe without end; None: the knob's. Raises ValidationError on ``hold_status_s``."""
    if written is None or written == "":
        return None
    try:
        hold_s = float(written)
    except (ValueError, OverflowError):
        hold_s = math.nan
    if not hold_s >= 0:
        raise ValidationError({HOLD: PROBLEM})
    return hold_s


def written_hold(hold_s: float | None) -> WrittenHold:
    """What JSON and YAML can say."""
    return FOREVER if hold_s == math.inf else hold_s
