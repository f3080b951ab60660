"""The journal: whatever happens to Postgres, the disk or the process, each request has one record."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from gateway.errors import JournalFull
from gateway.journal import REJECTED, Journal
from gateway.records import Away
from gateway.segments import Segments
from tests.fakes.records import Postgres, ended, record


def journal(tmp_path, postgres):
    return Journal(tmp_path, postgres, every_s=60)


def test_a_request_is_stored_when_it_has_ended_and_not_before(tmp_path):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    entry = record()
    book.accept(entry)
    book.flush()
    assert not postgres.rows
    book.end(ended(entry))
    book.flush()
    book.flush()
    assert [row.outcome for row in postgres.rows.values()] == ["ok"]
    assert postgres.batches == [1]


def test_nothing_is_lost_while_postgres_is_away(tmp_path):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    postgres.away = True
    for _ in range(50):
        entry = record()
        book.accept(entry)
        book.end(ended(entry))
        with pytest.raises(Away):
            book.flush()
    postgres.away = False
    book.flush()
    assert len(postgres.rows) == 50
    assert postgres.batches == [50]


def test_what_ends_while_records_are_stored_waits_for_the_next_time(tmp_path):
    """Or under load each batch is a handful: what comes while one is stored makes the next."""
    postgres = Postgres()

    def store(records):
        postgres(records)
        if len(postgres.batches) < 10:
            pass_one(book)

    book = journal(tmp_path, store)
    for _ in range(3):
        pass_one(book)
    book.flush()
    assert postgres.batches == [3]
    book.flush()
    assert postgres.batches == [3, 1]


def pass_one(book):
    entry = record()
    book.accept(entry)
    book.end(ended(entry))


def test_what_a_clean_stop_could_not_store_is_stored_by_the_next_start(tmp_path):
    postgres = Postgres()
    postgres.away = True
    book = journal(tmp_path, postgres)
    entry = record()
    book.accept(entry)
    book.end(ended(entry))
    book.stop()
    postgres.away = False
    journal(tmp_path, postgres).adopt()
    assert list(postgres.rows) == [entry.request_id]


def test_a_clean_stop_leaves_no_files(tmp_path):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    book.start()
    entry = record()
    book.accept(entry)
    book.end(ended(entry))
    book.stop()
    assert list(postgres.rows) == [entry.request_id]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_gateways_requests_are_settled_by_the_next_one(tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from gateway.journal import Journal
        from gateway.records import Record
        book = Journal(Path(sys.argv[1]), lambda records: None, every_s=60)
        for name in ("finished", "running"):
            book.accept(Record(name, 1.0, "research", "m", "standard", "/v1/completions", False))
        book.end(Record("finished", 1.0, "research", "m", "standard", "/v1/completions", False, outcome="ok"))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    postgres = Postgres()
    heir = journal(tmp_path, postgres)
    heir.adopt()
    heir.adopt()
    assert {name: row.outcome for name, row in postgres.rows.items()} == {
        "finished": "ok",
        "running": "worker_lost",
    }
    assert postgres.rows["running"].ended_at is not None
    heir.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_living_gateways_journal_is_left_alone(tmp_path):
    postgres = Postgres()
    mine, other = journal(tmp_path, postgres), journal(tmp_path, postgres)
    mine.accept(record())
    other.adopt()
    assert not postgres.rows


def test_a_new_segment_carries_what_still_runs_and_the_old_one_goes(tmp_path):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    book._segments = Segments(tmp_path, segment_bytes=200)
    long = record("long")
    book.accept(long)
    for _ in range(10):
        entry = record()
        book.accept(entry)
        book.end(ended(entry))
    assert len(book._segments.paths()) > 3
    book.flush()
    assert book._segments.paths() == [book._segments.current]
    assert b'"long"' in book._segments.current.read_bytes()
    book.end(ended(long))
    book.flush()
    assert len(postgres.rows) == 11


def test_a_segment_that_is_just_being_begun_is_not_taken_for_an_old_one(tmp_path, monkeypatch):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    book._segments = Segments(tmp_path, segment_bytes=200)
    long = record("long")
    book.accept(long)
    write, looks = os.write, []

    def while_another_thread_stores(file, data):
        done = write(file, data)
        if len(book._segments.paths()) > 1 and not looks:
            looks.append(book.flush())
        return done

    monkeypatch.setattr(os, "write", while_another_thread_stores)
    for _ in range(3):
        entry = record()
        book.accept(entry)
        book.end(ended(entry))
    book.end(ended(long))
    book.flush()
    assert looks
    assert len(postgres.rows) == 4


def test_a_full_disk_refuses_new_requests_and_keeps_the_ends_of_old_ones(tmp_path, monkeypatch, caplog):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    old = record("old")
    book.accept(old)
    write = os.write
    room = [10]

    def short(file, data):
        done = write(file, data[: room[0]]) if room[0] else 0
        room[0] -= done
        if not done:
            raise OSError(28, "No space left on device")
        return done

    monkeypatch.setattr(os, "write", short)
    book.end(ended(old))
    with pytest.raises(JournalFull):
        book.accept(record("refused"))
    assert book.unsettled == 1
    monkeypatch.setattr(os, "write", write)
    new = record("new")
    book.accept(new)
    book.end(ended(new))
    book.flush()
    assert sorted(postgres.rows) == ["new", "old"]
    assert book.unsettled == 0
    assert "cannot be written" in caplog.text


def test_a_record_that_postgres_refuses_holds_up_no_other(tmp_path, caplog):
    postgres = Postgres()
    postgres.refuses = {"bad"}
    book = journal(tmp_path, postgres)
    for name in ("a", "bad", "c"):
        entry = record(name)
        book.accept(entry)
        book.end(ended(entry))
    book.flush()
    assert sorted(postgres.rows) == ["a", "c"]
    assert b'"bad"' in (tmp_path / REJECTED).read_bytes()
    assert "bad" in caplog.text
