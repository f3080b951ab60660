"""For how long an API token lets the status line of its waiting streams be held back, as people write it."""

from __future__ import annotations

import math
from typing import Annotated, Any

from django.core.exceptions import ValidationError
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

FOREVER = "inf"  # as the header x-hold-ms has it; JSON has no such number
MEANING = "Seconds until a stream in line gets 200 and comments; inf: never; null: FAIRLANE_HOLD_STATUS_S."
PROBLEM = "Write seconds from 0, or inf for never"

WrittenHold = float | str | None


def read_hold(written: Any) -> float | None:
    """Seconds, maybe without end; None: the knob's. Raises ValidationError on ``hold_status_s``."""
    if written is None or written == "":
        return None
    try:
        hold_s = math.nan if isinstance(written, bool) else float(written)
    except (TypeError, ValueError, OverflowError):
        hold_s = math.nan
    if not hold_s >= 0:
        raise ValidationError({"hold_status_s": f"{PROBLEM}."})
    return hold_s


def written_hold(hold_s: float | None) -> WrittenHold:
    """What JSON and YAML can say."""
    return FOREVER if hold_s == math.inf else hold_s


def _in_one_form(written: Any) -> WrittenHold:
    try:
        return written_hold(read_hold(written))
    except ValidationError:
        raise PydanticCustomError("hold", PROBLEM) from None


HoldField = Annotated[WrittenHold, BeforeValidator(_in_one_form)]
"""The member of a body or of a file, where a wrong one is refused in our words instead of pydantic's."""
