"""The paths that are relayed to engines, and what there is to know about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.dialect import OPENAI, Dialect


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the data plane: which member holds the prompt, and whether an answer is generated."""

    path: str
    prompt: str
    generates: bool = True
    dialect: Dialect = OPENAI


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint("/v1/chat/completions", "messages"),
        Endpoint("/v1/completions", "prompt"),
        Endpoint("/v1/embeddings", "input", generates=False),
    )
}
