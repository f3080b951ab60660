"""What `manage.py doctor` says of the journal."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from config import doctor
from config.trouble import Trouble
from gateway.journal import REJECTED


def test_the_doctor_says_how_much_the_journal_holds(tmp_path) -> None:
    (tmp_path / "1-2-000000.jsonl").write_text("x" * 1234)

    assert doctor.journal(tmp_path).endswith("holds 1,234 bytes")


def test_a_journal_that_is_not_there_yet_is_no_trouble(tmp_path) -> None:
    assert "first start" in doctor.journal(tmp_path / "journal")


def test_the_doctor_finds_records_that_postgres_refused_for_ever(tmp_path) -> None:
    (tmp_path / REJECTED).write_text("{}\n")

    with pytest.raises(Trouble, match="refused for ever"):
        doctor.journal(tmp_path)


def test_the_doctor_finds_a_journal_that_cannot_be_written(tmp_path) -> None:
    folder = tmp_path / "journal"
    folder.write_text("a file where the folder should be")

    with pytest.raises(Trouble, match="cannot be written: Not a directory"):
        doctor.journal(folder)


def test_the_doctor_finds_a_disk_that_is_nearly_full(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=5 * 1024 * 1024))

    with pytest.raises(Trouble, match="has 5 MiB left"):
        doctor.journal(tmp_path)
