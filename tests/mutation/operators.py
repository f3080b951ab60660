"""The bugs that are tried: small changes of one expression or one statement, written as syntax trees."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
CONDITIONS = ast.Compare | ast.BoolOp | ast.UnaryOp  # they have bugs of their own: no need to turn them round


def expressions(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of an expression."""
    for kind, change in CHANGES:
        if isinstance(node, kind):
            yield from change(node)


def statements(node: ast.stmt) -> Iterator[ast.stmt]:
    """What may stand in the place of a statement: nothing, mostly."""
    if isinstance(node, ast.Return):
        if node.value is None or _is_none(node.value):
            yield ast.Pass()
        elif not _is_bool(node.value):  # True and False have each other
            yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Break | ast.Continue):
        yield ast.Pass()
        yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    elif _may_go(node):
        yield ast.Pass()


def _may_go(node: ast.stmt) -> bool:
    if isinstance(node, ast.Delete | ast.AugAssign):
        return True
    if isinstance(node, ast.Raise):
        return node.exc is None or ast.unparse(node.exc) != "NotImplementedError"  # there nothing can run
    if isinstance(node, ast.Expr):
        calls_super = any(isinstance(part, ast.Name) and part.id == "super" for part in ast.walk(node))
        return not isinstance(node.value, ast.Constant) and not calls_super
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
        # without its first value a local name would only be an error
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return not any(isinstance(target, ast.Name) for target in targets)
    return False


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    for place, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)


def _both_or_either(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for place in range(len(node.values)):
        rest = [*node.values[:place], *node.values[place + 1 :]]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _arithmetic(node: ast.BinOp | ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in ARITHMETIC:
        changed = copy.copy(node)
        changed.op = ARITHMETIC[type(node.op)]()
        yield changed


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def _name(node: ast.Name) -> Iterator[ast.AST]:
    if node.id in NAMES:
        yield ast.Name(NAMES[node.id], ast.Load())


def _turned_round(node: ast.If | ast.While | ast.IfExp) -> Iterator[ast.AST]:
    test = node.test
    if isinstance(test, CONDITIONS):
        return
    changed = copy.copy(node)
    changed.test = ast.UnaryOp(ast.Not(), test)
    yield changed


def _comprehension(node: ast.comprehension) -> Iterator[ast.AST]:
    for place, condition in enumerate(node.ifs):
        rest = [*node.ifs[:place], *node.ifs[place + 1 :]]
        yield ast.comprehension(node.target, node.iter, rest, node.is_async)
        if not isinstance(condition, CONDITIONS):
            turned = [*node.ifs[:place], ast.UnaryOp(ast.Not(), condition), *node.ifs[place + 1 :]]
            yield ast.comprehension(node.target, node.iter, turned, node.is_async)


def _slice(node: ast.Slice) -> Iterator[ast.AST]:
    if node.lower:
        yield ast.Slice(None, node.upper, node.step)
    if node.upper:
        yield ast.Slice(node.lower, None, node.step)


def _is_bool(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


CHANGES: list[tuple[type[ast.AST] | tuple[type[ast.AST], ...], Callable[..., Iterator[ast.AST]]]] = [
    (ast.Compare, _compare),
    (ast.BoolOp, _both_or_either),
    ((ast.BinOp, ast.AugAssign), _arithmetic),
    (ast.UnaryOp, _unary),
    (ast.Constant, _constant),
    (ast.Name, _name),
    ((ast.If, ast.While, ast.IfExp), _turned_round),
    (ast.comprehension, _comprehension),
    (ast.Slice, _slice),
]
