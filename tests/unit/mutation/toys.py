"""A small module to put bugs into."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tests.mutation.mutants import Mutant, mutants_of

TOY = '''
"""A toy."""
from __future__ import annotations
from dataclasses import dataclass
from functools import lru_cache
import msgspec

LIMIT = 3
PRICES = {"a": 5}

@dataclass(frozen=True, slots=True)
class Rule:
    """What holds."""
    most: int = 7

class Coin(msgspec.Struct, gc=False):
    """What is paid with."""
    milli: int
    minted: int = 1999
    of: Rule = Rule()

    @property
    def value(self):
        return self.milli + 1

class Till:
    __slots__ = ("sum",)
    fee = 2

    def __init__(self, start=1):
        self.sum = start

    @property
    def twice(self):
        return self.sum * 2

    def pay(self, milli: int | None):
        self.sum += 9
        if self.sum > 99:
            raise ValueError(f"{self.sum} is {99 + 1} too much")
        self.sum += 9

NORMAL = Rule(most=8)
FEE = Coin(3)

def clamp(n):
    if n < 0:
        return 0
    return min(n, LIMIT)

@lru_cache(maxsize=2)
def half(n):
    return n // 2
'''


def toy(folder: Path, monkeypatch, text: str = TOY, name: str = "toy_of_mutants") -> ModuleType:
    """The text as an imported module; it is forgotten after the test."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def mutants(folder: Path, text: str = TOY) -> list[Mutant]:
    path = folder / "text.py"
    path.write_text(text, encoding="utf-8")
    return mutants_of(path, "toy.py")


def mutant(folder: Path, text: str) -> Mutant:
    """The one mutant of the toy with this text."""
    (found,) = [each for each in mutants(folder) if each.text == text]
    return found
