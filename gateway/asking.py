"""Asks a gateway for answers as any client does, with our own relay as the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from gateway.calls import EngineCall, RelayOptions
from gateway.classes import HEADER
from gateway.failures import BackendFailure
from gateway.relay import Relay
from scheduling.core.prediction import CHARS_PER_TOKEN
from scheduling.core.usage import Usage
from scheduling.engines.endpoint import Endpoint

BLOCK_CHARS = 512 * CHARS_PER_TOKEN  # the text that one prefix hash stands for
WORD = "word"  # a token, as engines without a tokenizer count


@dataclass(frozen=True, slots=True)
class Question:
    """One chat request. Without ``priority_class`` the tenant's own class holds.

    ``prefixes`` are hashes of the prompt's 512-token beginnings, shortest
    first: prompts with the same ones begin with the same text.
    """

    model: str
    prompt_tokens: int
    max_tokens: int
    priority_class: str = ""
    streams: bool = True
    prefixes: tuple[int, ...] = ()


class Asker:
    """Clients of a gateway, one for each tenant. ``close`` ends them."""

    def __init__(self, url: str, secrets: Mapping[str, str]) -> None:
        self._relay = Relay(RelayOptions())
        self._relay.set_endpoints(
            {tenant: Endpoint(tenant, url, api_key=secret) for tenant, secret in secrets.items()}
        )

    async def ask(
        self,
        tenant: str,
        question: Question,
        usage: Usage | None = None,
        on_first_token: Callable[[], None] = lambda: None,
    ) -> bool:
        """Read one answer to its end; False when it was refused or broke.

        ``usage`` is written as bytes pass.
        """
        call = _call(question)
        try:
            async with self._relay.open(tenant, call, usage or Usage(), on_first_token) as reply:
                async for _ in reply:
                    pass
        except BackendFailure:
            return False
        return reply.status == 200

    async def close(self) -> None:
        """End all connections."""
        await self._relay.close()


def _call(question: Question) -> EngineCall:
    name = uuid4().hex
    own_text = name + WORD * question.prompt_tokens
    text = (_beginning(question.prefixes) + own_text)[: max(1, CHARS_PER_TOKEN * question.prompt_tokens)]
    body = {
        "model": question.model,
        "stream": question.streams,
        "max_tokens": question.max_tokens,
        "messages": [{"role": "user", "content": text}],
    }
    wanted = ((HEADER, question.priority_class.encode()),) if question.priority_class else ()
    return EngineCall(
        request_id=name,
        path="/v1/chat/completions",
        body=(json.dumps(body).encode(),),
        stream=question.streams,
        strip_usage=False,
        headers=wanted,
    )


def _beginning(prefixes: tuple[int, ...]) -> str:
    """Text of 512 tokens for each hash, the same for the same ones."""
    blocks = (f"{prefix:x} " for prefix in prefixes)
    return "".join((block * BLOCK_CHARS)[:BLOCK_CHARS] for block in blocks)
