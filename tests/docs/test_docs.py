from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import tables

ROOT = Path(__file__).resolve().parent.parent.parent
CODE_PATH = re.compile(
    r"`((?:config|scheduling|gateway|dashboard|templates|tests|benchmarks|docs)/[\w/.-]*)`"
)
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_a_document_names_exists(document: Path) -> None:
    named = CODE_PATH.findall(document.read_text(encoding="utf-8"))

    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", sorted(tables.pages()), ids=lambda path: path.name)
def test_the_printed_tables_say_what_the_code_says(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == tables.pages()[path], "run: python -m config.tables"
