"""The journal's lines: what stands in them, which are stored, and when the thread has none."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from gateway.errors import JournalFull
from gateway.journal import Journal
from gateway.segments import SEGMENT_S, Segments
from tests.fakes.records import Postgres, ended, record
from tests.unit.gateway.test_journal import journal, pass_one


def test_a_segment_ends_after_an_hour_too(tmp_path):
    book = journal(tmp_path, Postgres())
    early, late = record("early"), record("late")
    early.accepted_at, late.accepted_at = time.time() + SEGMENT_S - 60, time.time() + SEGMENT_S + 60
    book.accept(early)
    assert len(book._segments.paths()) == 1
    book.accept(late)
    assert len(book._segments.paths()) == 2


def test_a_line_that_a_full_disk_tore_holds_up_no_other(tmp_path, monkeypatch):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    first, torn, last = (record(name) for name in ("first", "torn", "last"))
    for each in (first, torn, last):
        book.accept(each)
    book.end(ended(first))
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:-5]))
    book.end(ended(torn))
    monkeypatch.setattr(os, "write", write)
    book.end(ended(last))
    book.flush()
    assert sorted(postgres.rows) == ["first", "last", "torn"]
    assert book.unsettled == 0


def test_a_disk_that_stays_full_when_the_next_segment_is_due_keeps_no_file_open_for_each_try(
    tmp_path, monkeypatch
):
    book = journal(tmp_path, Postgres())
    old, late = record("old"), record("late")
    book.accept(old)
    late.accepted_at = time.time() + SEGMENT_S + 60
    write, opened = os.write, _open_files()

    def full(_file, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(5):
        with pytest.raises(JournalFull):
            book.accept(late)
    assert _open_files() == opened
    assert len(book._segments.paths()) == 1

    monkeypatch.setattr(os, "write", write)
    book.accept(late)
    assert [json.loads(line)["request_id"] for line in book._segments.current.read_text().splitlines()] == [
        "old",
        "late",
    ]


def _open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_ends_of_a_turn_are_written_together_at_its_end_or_with_the_next_beginning(tmp_path, monkeypatch):
    postgres, turn, writes = Postgres(), [], []
    book = journal(tmp_path, postgres)
    book.soon = turn.append
    for name in "abc":
        book.accept(record(name))
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: writes.append(data) or write(file, data))

    for name in "ab":
        book.end(ended(record(name)))
    book.flush()
    assert (sorted(postgres.rows), len(turn), book.unsettled) == ([], 1, 3)
    turn.pop()()
    book.flush()
    assert (sorted(postgres.rows), len(writes), book.unsettled) == (["a", "b"], 1, 1)

    book.end(ended(record("c")))
    book.accept(record("d"))
    turn.pop()()
    book.flush()
    assert (sorted(postgres.rows), len(writes), book.unsettled) == (["a", "b", "c"], 2, 1)
    book._segments.close(empty=True)


def test_a_segment_ends_with_the_ends_that_were_still_to_be_written(tmp_path):
    postgres = Postgres()
    book = journal(tmp_path, postgres)
    book._segments = Segments(tmp_path, segment_bytes=100)
    book.soon = [].append
    book.accept(record("a"))
    book.end(ended(record("a")))
    first = book._segments.current
    book.accept(record("b"))

    assert book._segments.current != first
    assert first.read_bytes().endswith(b" \n")
    book.flush()
    assert sorted(postgres.rows) == ["a"]


def test_a_journal_of_the_last_release_is_adopted(tmp_path):
    """Its lines of ended requests ended with no blank."""
    dead = Segments(tmp_path)
    running, finished = record("running"), record("finished")
    lines = [running, finished, ended(finished)]
    dead.append(b"".join(msgspec.json.encode(each) + b"\n" for each in lines))
    dead.close(empty=False)
    postgres = Postgres()
    journal(tmp_path, postgres).adopt()
    assert {name: row.outcome for name, row in postgres.rows.items()} == {
        "finished": "ok",
        "running": "worker_lost",
    }


def test_a_request_is_lost_with_all_that_was_known_of_it_even_after_a_new_segment(tmp_path):
    dead = journal(tmp_path, Postgres())
    dead._segments.close(empty=True)
    dead._segments = Segments(tmp_path, segment_bytes=100)
    entry = record("lost")
    dead.accept(entry)
    entry.backend, entry.dispatched_at = "gpu-0", 1.5
    dead.accept(record())
    dead._segments.close(empty=False)
    postgres = Postgres()
    journal(tmp_path, postgres).adopt()
    lost = postgres.rows["lost"]
    assert (lost.outcome, lost.backend, lost.dispatched_at) == ("worker_lost", "gpu-0", 1.5)
    assert (lost.tenant, lost.model, lost.endpoint) == ("research", "m", "/v1/completions")


def test_a_thread_rests_when_nothing_is_left_to_store_when_it_cannot_and_after_a_turn_of_its_own(tmp_path):
    postgres, rests = Postgres(), []
    book = Journal(tmp_path, postgres, every_s=0, rest=lambda: rests.append(len(postgres.rows)))
    book._adopted_at_s = time.time()
    pass_one(book)
    book._try()
    assert rests == []
    book._try()
    assert rests == [1]
    postgres.away = True
    pass_one(book)
    book._try()
    assert rests == [1, 1]
    postgres.away = False
    book.replay()
    assert rests == [1, 1, 2]
