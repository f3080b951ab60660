"""The fairness policies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scheduling.core.entry import Entry
from scheduling.core.fairness import Fairness, Fifo
from scheduling.core.hierarchy import Tree
from scheduling.core.levels import Level
from scheduling.core.policy import FAIRNESS
from scheduling.core.tag_tree import TagTree
from scheduling.core.tags import Counters, EqualTags, StartTags
from scheduling.core.turns import Loads, Rounds, Turns
from scheduling.core.usage import CostRule

LEVELS: Mapping[str, type[Level]] = MappingProxyType(
    {
        "round_robin": Turns,
        "weighted_round_robin": EqualTags,
        "deficit_round_robin": Rounds,
        "least_in_flight": Loads,
        "vtc": Counters,
        "token_fair": StartTags,
    }
)


def make(fairness: str, cost: CostRule, weight_of: Callable[[str], int]) -> Fairness:
    """The order of this name. Raises ValueError on an unknown one."""
    if fairness == "fifo":
        return Fifo()
    level = LEVELS.get(fairness)
    if level is None:
        raise ValueError(f"fairness is {fairness!r}; it must be one of {', '.join(FAIRNESS)}")
    if level is StartTags:
        return TagTree(level, None, weight_of)
    if level is not Counters:
        return Tree(level, None, weight_of)

    def prompt(entry: Entry) -> int:
        return cost.of(entry.ticket.prompt_tokens, 0)

    return TagTree(level, prompt, weight_of)
