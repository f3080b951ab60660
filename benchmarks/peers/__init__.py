"""Where the other gateways are installed: an environment each, outside of ours, from locks with hashes."""

from __future__ import annotations

from pathlib import Path

LOCKS = Path(__file__).resolve().parent
INSTALLED = LOCKS.parent.parent / "var" / "bench"
MEND = "python -m benchmarks.peers install"
PYTHON_PEERS = ("envoy", "litellm", "sglang-router", "tensorzero", "vllm-router")
NODE_PEERS = ("portkey",)


def folder(name: str) -> Path:
    """The environment of one peer."""
    return INSTALLED / name
