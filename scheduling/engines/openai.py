"""Any OpenAI-compatible server: it has no metrics that we know of, and needs none."""

from __future__ import annotations

from scheduling.engines.table import Table

OPENAI = Table(engine="openai", path="")
