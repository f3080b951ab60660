"""Random numbers as numpy's legacy generator draws them, so that a seed gives the artifact's own arrivals."""

from __future__ import annotations

import math
import random

WORDS = 624  # of the Mersenne Twister's state
ARTIFACT_SEED = 42  # of all its runs


class Dice:
    """``numpy.random.seed(seed)`` and the four draws that the artifact's generator makes.

    Both libraries have the same Mersenne Twister; only the way from a seed to
    its state differs (Matsumoto and Nishimura 1998, as revised in 2002).
    """

    def __init__(self, seed: int) -> None:
        words = [seed & 0xFFFFFFFF]
        for n in range(1, WORDS):
            words.append((1812433253 * (words[-1] ^ (words[-1] >> 30)) + n) & 0xFFFFFFFF)
        self._rng = random.Random()  # noqa: S311 the same arrivals for the same seed, no secret
        self._rng.setstate((3, (*words, WORDS), None))

    def unit(self) -> float:
        """From 0 to 1 (numpy's rand)."""
        return self._rng.random()

    def below(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high - 1`` (randint): words under a mask until one fits."""
        mask = (1 << (high - low - 1).bit_length()) - 1
        while (drawn := self._rng.getrandbits(32) & mask) > high - low - 1:
            pass
        return low + drawn

    def gap(self, per_s: float) -> float:
        """Seconds to the next of ``per_s`` arrivals a second (gamma of shape 1)."""
        return -math.log(1.0 - self._rng.random()) / per_s
