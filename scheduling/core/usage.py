"""What a request is thought to cost, and what it really cost."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

PROMPT_WEIGHT = 1  # cost of one prompt token (VTC, Sheng et al., OSDI 2024: input price 1)
COMPLETION_WEIGHT = 2  # cost of one completion token (same source: output price 2)


@dataclass(frozen=True, slots=True)
class CostRule:
    """What a token of service counts, in cost tokens: prompt + 2 x completion unless said otherwise.

    ``cached_discount_percent`` (0..100) is taken off prompt tokens that the
    engine says it had in its cache. 0, the default, charges all alike: what a
    request costs then depends on nobody else's.
    """

    prompt_weight: int = PROMPT_WEIGHT
    completion_weight: int = COMPLETION_WEIGHT
    cached_discount_percent: int = 0

    def of(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> int:
        """Service in cost tokens; ``cached_tokens`` are a part of the prompt's."""
        full = self.prompt_weight * prompt_tokens + self.completion_weight * completion_tokens
        if not cached_tokens:
            return full
        cached = min(cached_tokens, prompt_tokens)
        return full - self.prompt_weight * cached * self.cached_discount_percent // 100


DEFAULT_COST = CostRule()


def cost_of(prompt_tokens: int, completion_tokens: int) -> int:
    """Service in cost tokens under the default rule: prompt + 2 x completion."""
    return DEFAULT_COST.of(prompt_tokens, completion_tokens)


class Usage(msgspec.Struct, gc=False):
    """The tokens of one request, counted while its answer passes.

    Mutable on purpose: the relay writes it as bytes pass, and whoever holds
    the request settles it when the block ends, however it ends.
    ``estimated`` says that the engine did not report the figures.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = True
    rule: CostRule = DEFAULT_COST  # of the pool that serves it

    @property
    def cost_tokens(self) -> int:
        """What the flow is charged for in the end."""
        rule = self.rule
        if self.cached_tokens and rule.cached_discount_percent:
            return rule.of(self.prompt_tokens, self.completion_tokens, self.cached_tokens)
        return rule.prompt_weight * self.prompt_tokens + rule.completion_weight * self.completion_tokens
