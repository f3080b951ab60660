"""What is said of the house: small files, small functions, everything our own, everything on a card.

An exception says why on the spot: ``over 300 lines: <reason>`` in a comment on the first line
of a file or a template, or on the line of a function's ``def``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduling.core.policy import FAIRNESS

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("config", "scheduling", "gateway", "dashboard")
HOUSE = (*PACKAGES, "templates", "tests", "benchmarks", "docs", "scripts")
FILE_LINES, FUNCTION_LINES, VIEW_LINES, PARTIAL_LINES = 300, 40, 20, 40
EXCUSE = re.compile(r"#.*\bover \d+ lines: \w+")
SCRIPTS = {".js", ".mjs", ".css"}
ASSETS = SCRIPTS | {".map", ".svg", ".png", ".ico", ".woff", ".woff2", ".ttf", ".wasm"}
OUR_ASSETS = ROOT / "dashboard" / "static" / "dashboard"
OUR_DRIVERS = ROOT / "tests" / "sdk" / "js"  # of stock clients that are written in JavaScript
FOREIGN = re.compile(r"/\*!|@license|@preserve|copyright|\(c\) \d{4}|sourceMappingURL", re.IGNORECASE)
LINE_CHARS = 300  # minified code has longer ones
LOCKS = [*ROOT.glob("*.lock"), *(ROOT / "tests" / "sdk" / "python").glob("*.lock")]
COMMANDS = sorted(
    path.stem
    for package in PACKAGES
    for path in (ROOT / package / "management" / "commands").glob("*.py")
    if path.stem != "__init__"
)


def files(folder: str, pattern: str) -> list[Path]:
    """The files of one kind below a folder; there must be some, or a claim about them says nothing."""
    found = sorted(path for path in (ROOT / folder).rglob(pattern) if path.is_file())
    assert found, f"no {pattern} in {folder}"
    return found


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def too_long(path: Path, most: int) -> bool:
    lines = text_of(path).splitlines()
    return len(lines) > most and not EXCUSE.search(lines[0])


def long_functions(folder: str, most: int) -> Iterator[str]:
    for path in files(folder, "*.py"):
        text = text_of(path)
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            count = (node.end_lineno or 0) - node.lineno + 1
            if count > most and not EXCUSE.search(lines[node.lineno - 1]):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {count} lines"


def test_no_python_file_is_long_but_migrations() -> None:
    found = [path for folder in (*PACKAGES, "tests", "benchmarks") for path in files(folder, "*.py")]

    assert [path for path in found if path.parent.name != "migrations" and too_long(path, FILE_LINES)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_is_long(package: str) -> None:
    assert list(long_functions(package, FUNCTION_LINES)) == []


def test_no_view_is_long() -> None:
    assert list(long_functions("dashboard/views", VIEW_LINES)) == []


def test_no_partial_is_long() -> None:
    found = files("templates/dashboard/partials", "*.html")

    assert [path for path in found if too_long(path, PARTIAL_LINES)] == []


def test_every_asset_is_our_own() -> None:
    """Libraries of the browser come from packages, and are served from there."""
    assets = [path for folder in HOUSE for path in (ROOT / folder).rglob("*") if path.suffix in ASSETS]

    scripts = {path: text_of(path) for path in assets if path.suffix in SCRIPTS}

    assert scripts
    homes = (OUR_ASSETS, OUR_DRIVERS)
    assert [path for path in assets if path.parent not in homes or ".min." in path.name] == []
    assert [path for path, text in scripts.items() if FOREIGN.search(text)] == []
    assert [path for path, text in scripts.items() if max(map(len, text.splitlines())) > LINE_CHARS] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_names_no_index(lock: Path) -> None:
    lines = text_of(lock).splitlines()

    assert any("--hash=sha256:" in line for line in lines)
    assert [line for line in lines if "://" in line or line.startswith("-")] == []


def test_the_lock_of_the_javascript_clients_names_no_registry() -> None:
    packages = json.loads(text_of(OUR_DRIVERS / "package-lock.json"))["packages"]

    locked = {name: package for name, package in packages.items() if name}
    assert locked
    assert [name for name, package in locked.items() if "integrity" not in package] == []
    assert [name for name, package in locked.items() if "resolved" in package] == []


@pytest.mark.parametrize("policy", FAIRNESS)
def test_every_fairness_policy_has_its_card(policy: str) -> None:
    assert text_of(ROOT / "docs" / "policies" / f"{policy}.md").startswith(f"# {policy}\n\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readmes_table(command: str) -> None:
    _, _, rest = text_of(ROOT / "README.md").partition("\n## Commands\n")
    table = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| `manage.py ")]
    named = {name for line in table for name in re.findall(r"`(?:manage\.py )?([a-z]+)", line.split("|")[1])}

    assert command in named
