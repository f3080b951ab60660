"""All mutants of a file: each is one change, and has a name that survives moved lines."""

from __future__ import annotations

import ast
import copy
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from tests.mutation.operators import expressions, statements

UNTOUCHED = (ast.JoinedStr, ast.Import, ast.ImportFrom)  # messages, and what is not ours
NOT_CODE = {"annotation", "returns", "decorator_list", "type_ignores"}
DUNDER = {"__slots__", "__all__"}
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(slots=True)
class Change:
    """Put another node in the place of one; doing it twice changes nothing."""

    holder: ast.AST
    field: str
    index: int | None
    other: ast.AST

    def swap(self) -> None:
        """Exchange the two."""
        now = getattr(self.holder, self.field)
        if self.index is None:
            setattr(self.holder, self.field, self.other)
            self.other = now
        else:
            self.other, now[self.index] = now[self.index], self.other


@dataclass(frozen=True, slots=True, eq=False)
class Mutant:
    """One bug. ``key`` names it; ``lines`` are those that reach it when they run, none at module level.

    ``written`` are the lines that its statement stands on, without the blocks below it.
    """

    file: str
    owner: str
    was: str
    becomes: str
    ordinal: int
    lines: frozenset[int]
    written: range
    tree: ast.Module
    change: Change

    @property
    def place(self) -> str:
        """File and qualified name."""
        return f"{self.file} {self.owner}".rstrip()

    @property
    def text(self) -> str:
        """The statement before and after, and which of several equal ones it is."""
        return f"{self.was} => {self.becomes}" + (f" (no. {self.ordinal})" if self.ordinal > 1 else "")

    @property
    def key(self) -> str:
        """The whole name."""
        return f"{self.place}: {self.text}"

    def chosen(self, one_in: int) -> bool:
        """Whether it belongs to the fixed sample; a mutant more or less does not change who else does."""
        return zlib.crc32(self.key.encode()) % one_in == 0

    def code(self) -> CodeType:
        """The file with the bug in it."""
        self.change.swap()
        try:
            return compile(ast.fix_missing_locations(self.tree), self.file, "exec")
        finally:
            self.change.swap()


def mutants_of(path: Path, file: str) -> list[Mutant]:
    """Every mutant of one file, in the order of its lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    seen: Counter[tuple[str, str, str]] = Counter()
    found: list[Mutant] = []
    for site in _Walk().sites(tree):
        texts = set()
        for change in site.changes():
            was = _head(site.statement)
            change.swap()
            becomes = _head(site.now())
            change.swap()
            if becomes in texts or becomes == was:
                continue
            texts.add(becomes)
            name = (site.owner, was, becomes)
            seen[name] += 1
            found.append(Mutant(file, *name, seen[name], site.lines, site.written, tree, change))
    return found


@dataclass(slots=True)
class _Site:
    """One statement, all whose own expressions may be changed."""

    owner: str
    in_function: bool
    statement: ast.stmt
    holder: ast.AST
    field: str
    index: int

    @property
    def lines(self) -> frozenset[int]:
        if isinstance(self.statement, ast.FunctionDef | ast.AsyncFunctionDef):
            # Its defaults, which matter to whoever runs it.
            return frozenset(range(self.statement.body[0].lineno, (self.statement.end_lineno or 0) + 1))
        return frozenset(self.written) if self.in_function else frozenset()

    @property
    def written(self) -> range:
        body = getattr(self.statement, "body", None)
        last = body[0].lineno - 1 if body else self.statement.end_lineno
        first = self.statement.lineno
        return range(first, max(first, last or first) + 1)

    def now(self) -> ast.stmt:
        """What stands in the statement's place."""
        return getattr(self.holder, self.field)[self.index]

    def _is_last_and_empty(self) -> bool:
        """Whether it is a function's last ``return None``: without it the function returns None as well."""
        function = isinstance(self.holder, ast.FunctionDef | ast.AsyncFunctionDef)
        last = function and self.index == len(self.holder.body) - 1
        return last and ast.unparse(self.statement) in ("return", "return None")

    def changes(self) -> Iterator[Change]:
        if self.in_function and not self._is_last_and_empty():
            for other in statements(self.statement):
                yield Change(self.holder, self.field, self.index, other)
        for other in expressions(self.statement):
            yield Change(self.holder, self.field, self.index, other)
        if not isinstance(self.statement, ast.Raise):  # its words are for people
            yield from _inside(self.statement)


class _Walk:
    """Finds the statements of a module with the names of their owners."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._functions = 0

    def sites(self, node: ast.AST) -> Iterator[_Site]:
        for field in BLOCKS:
            for index, child in enumerate(getattr(node, field, ())):
                if isinstance(child, ast.ExceptHandler | ast.match_case):
                    yield from self.sites(child)
                elif _counts(child):
                    yield _Site(".".join(self._names), self._functions > 0, child, node, field, index)
                    yield from self._below(child)

    def _below(self, child: ast.stmt) -> Iterator[_Site]:
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        named = function or isinstance(child, ast.ClassDef)
        if named:
            self._names.append(child.name)
        self._functions += function
        yield from self.sites(child)
        self._functions -= function
        if named:
            self._names.pop()


def _counts(statement: ast.stmt) -> bool:
    if isinstance(statement, UNTOUCHED):
        return False
    if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name):
        return statement.test.id != "TYPE_CHECKING"
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id not in DUNDER
    # the members of an enumeration cannot be changed once others hold them
    return not (
        isinstance(statement, ast.ClassDef) and any("Enum" in ast.unparse(b) for b in statement.bases)
    )


def _inside(node: ast.AST) -> Iterator[Change]:
    """The changes of the expressions of one statement; statements in its blocks have their own."""
    for field, value in ast.iter_fields(node):
        if field in NOT_CODE or (field in BLOCKS and isinstance(node, ast.stmt | ast.match_case)):
            continue
        places = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in places:
            if isinstance(child, ast.AST) and not isinstance(child, UNTOUCHED) and not _only_checks(child):
                for other in expressions(child):
                    yield Change(node, field, index, other)
                yield from _inside(child)


def _only_checks(node: ast.AST) -> bool:
    """The ``strict`` of a ``zip`` says that both are equally long; nothing may hang on it."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _head(statement: ast.stmt) -> str:
    """The statement as text without the blocks below it."""
    head = copy.copy(statement)
    for field in BLOCKS:
        if hasattr(head, field):
            setattr(head, field, [])
    return ast.unparse(head).strip()
