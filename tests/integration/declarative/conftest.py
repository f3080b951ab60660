"""The file on disk, and its secrets in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.declarative.installation import ENGINE_KEY, FILE, SECRET


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("CHAT_TOKEN", SECRET)
    monkeypatch.setenv("GPU_KEY", ENGINE_KEY)


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str = FILE) -> str:
        path = tmp_path / "fairlane.yaml"
        path.write_text(text)
        return str(path)

    return write
