"""Servers without metrics that we know of: they are only asked whether they are there."""

from __future__ import annotations

from scheduling.engines.table import Table

OPENAI = Table(engine="openai", pages=())  # any server with the OpenAI API
# How many requests it takes at once is its OLLAMA_NUM_PARALLEL, which no page tells.
OLLAMA = Table(engine="ollama", pages=(), probe="/api/version")
