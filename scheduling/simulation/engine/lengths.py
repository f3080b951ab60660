"""How long the model's answers would be if nobody cut them."""

from __future__ import annotations

import math
import random

from scheduling.simulation.engine.prompts import Generation

SIGMA = 0.86  # spread of answer lengths: lognormal fit of the Azure 2023 conversation trace
OPEN_END_TOKENS = 256  # an answer without max_tokens, unless eos says otherwise


class AnswerLengths:
    """Chooses each answer's length: exactly max_tokens, or drawn when the model may end by itself.

    With ``eos`` the lengths are lognormal with that mean, cut at max_tokens,
    except for requests that say ``ignore_eos``.
    """

    def __init__(self, eos: float | None, seed: int) -> None:
        self._eos = eos
        self._random = random.Random(seed)  # noqa: S311 - chance for a simulation, no secret

    def draw(self, ask: Generation, room: int) -> int:
        """Tokens of this answer; ``room`` is what the context leaves."""
        limit = room if ask.max_tokens is None else min(ask.max_tokens, room)
        if self._eos is not None and not ask.ignore_eos:
            wanted = round(self._random.lognormvariate(math.log(self._eos) - SIGMA**2 / 2, SIGMA))
            return min(limit, max(1, wanted, ask.min_tokens))
        return min(limit, OPEN_END_TOKENS) if ask.max_tokens is None else limit
