"""Put a bug into a module that is in use: its functions and constants change, what holds them stays."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import MutableMapping
from enum import Enum
from types import CodeType, FunctionType, ModuleType
from typing import Any

import msgspec

PLAIN = (int, float, str, bool, tuple, frozenset, type(None))
CACHED = type(functools.cache(abs))
WRAPPERS = (classmethod, staticmethod, CACHED)
SKIPPED = {"__builtins__", "__file__", "__name__", "__package__", "__doc__", "__module__"}


def transplant(module: ModuleType, code: CodeType) -> None:
    """Make ``module`` behave as ``code`` says. Nothing can be undone: call it in a forked child.

    Raises what the changed module raises when it is imported.
    """
    fresh: dict[str, Any] = {"__name__": module.__name__, "__package__": module.__package__}
    exec(code, fresh)
    for name, new in fresh.items():
        old = vars(module).get(name)
        if name in SKIPPED:
            continue
        if not _renewed(old, new) and _differs(old, new):
            _set_everywhere(name, old, new)
        elif (heir := _heir(old, new)) is not None:
            _set_everywhere(name, old, heir)


def _set_everywhere(name: str, old: object, new: object) -> None:
    """A constant lives in every module that imported it by name."""
    for module in list(sys.modules.values()):
        known = vars(module) if isinstance(module, ModuleType) else {}
        if name in known and (
            known[name] is old or (isinstance(old, PLAIN) and not _differs(known[name], old))
        ):
            setattr(module, name, new)


def _heir(old: Any, new: Any) -> type | None:
    """A struct keeps its defaults: a class below it with the plain ones of ``new``, if those are others."""
    if not (isinstance(new, type) and issubclass(new, msgspec.Struct) and issubclass(old, msgspec.Struct)):
        return None
    pairs = zip(old.__struct_defaults__, new.__struct_defaults__, strict=True)
    defaults = [after if isinstance(after, PLAIN) else before for before, after in pairs]
    if defaults == list(old.__struct_defaults__):
        return None
    names = old.__struct_fields__
    required = [(name, Any) for name in names[: len(names) - len(defaults)]]
    given = [(name, Any, value) for name, value in zip(names[len(required) :], defaults, strict=True)]
    return msgspec.defstruct(old.__name__, [*required, *given], bases=(old,), module=old.__module__)


def _differs(old: object, new: object) -> bool:
    if isinstance(new, Enum):
        return False  # a member that has a second name: it is what it is, as in its class
    return type(old) is not type(new) or (isinstance(new, PLAIN) and old != new)


def _renewed(old: Any, new: Any) -> bool:
    """Whether the old object itself took over what the new one is."""
    if isinstance(new, FunctionType) and isinstance(old, FunctionType):
        old.__code__, old.__defaults__ = new.__code__, new.__defaults__
        old.__kwdefaults__ = new.__kwdefaults__
    elif isinstance(new, property) and isinstance(old, property):
        _renewed(old.fget, new.fget)
    elif isinstance(new, WRAPPERS) and type(old) is type(new):
        _renew_wrapped(old, new)
    elif isinstance(new, type) and isinstance(old, type):
        if new.__module__ == old.__module__ and new is not old:
            _renew_class(old, new)
    elif isinstance(new, MutableMapping) and isinstance(old, MutableMapping):
        old |= {key: value for key, value in new.items() if not _renewed(old.get(key), value)}
    else:
        return _renew_fields(old, new)
    return True


def _renew_wrapped(old: Any, new: Any) -> None:
    _renewed(old.__wrapped__, new.__wrapped__)
    if isinstance(old, CACHED):
        old.cache_clear()  # it knows the answers of the sound code


def _renew_class(old: type, new: type) -> None:
    if issubclass(new, Enum):
        return  # its members are what they are: mutants_of offers none
    for name, value in vars(new).items():
        if name in SKIPPED or name not in vars(old):
            continue
        before = vars(old)[name]
        if not _renewed(before, value) and isinstance(value, PLAIN) and before != value:
            setattr(old, name, value)


def _renew_fields(old: Any, new: Any) -> bool:
    if dataclasses.is_dataclass(new) and dataclasses.is_dataclass(old):
        names, put = [field.name for field in dataclasses.fields(new)], object.__setattr__
    elif isinstance(new, msgspec.Struct) and isinstance(old, msgspec.Struct):
        names, put = [*new.__struct_fields__], msgspec.structs.force_setattr
    else:
        return False
    for name in names:
        if isinstance(value := getattr(new, name), PLAIN):
            put(old, name, value)
    return True
