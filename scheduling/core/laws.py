"""The admission laws by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scheduling.core.law import Law
from scheduling.core.law_first_token_window import FIRST_TOKEN_WINDOW
from scheduling.core.law_gradient import GRADIENT
from scheduling.core.law_queue_target import QUEUE_TARGET
from scheduling.core.law_static_cap import STATIC_CAP
from scheduling.core.law_tpot_target import TPOT_TARGET

LAWS: Mapping[str, Law] = MappingProxyType(
    {
        "first_token_window": FIRST_TOKEN_WINDOW,
        "queue_target": QUEUE_TARGET,
        "tpot_target": TPOT_TARGET,
        "static_cap": STATIC_CAP,
        "gradient": GRADIENT,
    }
)
