"""What a request is thought to cost, and what it really cost."""

from __future__ import annotations

from dataclasses import dataclass

PROMPT_WEIGHT = 1  # cost of one prompt token (VTC, Sheng et al., OSDI 2024: input price 1)
COMPLETION_WEIGHT = 2  # cost of one completion token (same source: output price 2)


def cost_of(prompt_tokens: int, completion_tokens: int) -> int:
    """Service in cost tokens: prompt + 2 x completion."""
    return PROMPT_WEIGHT * prompt_tokens + COMPLETION_WEIGHT * completion_tokens


@dataclass(slots=True)
class Usage:
    """The tokens of one request, counted while its answer passes.

    Mutable on purpose: the relay writes it as bytes pass, and whoever holds
    the request settles it when the block ends, however it ends.
    ``estimated`` says that the engine did not report the figures.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = True

    @property
    def cost_tokens(self) -> int:
        """What the flow is charged for in the end."""
        return cost_of(self.prompt_tokens, self.completion_tokens)
