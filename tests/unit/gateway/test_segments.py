"""The journal's files: taken over by one heir only, and on the disk in time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import msgspec

from gateway import segments as segments_module
from gateway.journal import Journal
from gateway.segments import Segments, read_lines
from tests.fakes.records import ended, record


def test_two_living_processes_that_adopt_at_once_store_a_dead_ones_requests_once(tmp_path):
    script = """
        import sys, time
        from pathlib import Path
        from gateway.journal import Journal
        from gateway.records import Record
        folder, name, start = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
        stored = (folder / name).open("a")
        def store(records):
            time.sleep(0.001)  # long enough for the other one to come by
            stored.writelines(f"{record.request_id} {record.outcome}\\n" for record in records)
        book = Journal(folder / "journal", store, every_s=60)
        time.sleep(max(0, start - time.time()))
        for _ in range(20):
            book.adopt()
        book.stop()
    """
    for number in range(12):
        dead = Segments(tmp_path / "journal")
        for name in ("running", "finished"):
            entry = record(f"{name}-{number}")
            dead.append(msgspec.json.encode(entry) + b"\n")
        dead.append(msgspec.json.encode(ended(entry)) + b"\n")
        dead.close(empty=False)
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    start = str(time.time() + 1.5)
    heirs = [subprocess.Popen([*command, name, start], env=environment) for name in "ab"]
    assert [heir.wait(20) for heir in heirs] == [0, 0]
    stored = "".join((tmp_path / name).read_text() for name in "ab").split("\n")[:-1]
    wanted = [f"running-{n} worker_lost" for n in range(12)] + [f"finished-{n} ok" for n in range(12)]
    assert sorted(stored) == sorted(wanted)
    assert list((tmp_path / "journal").iterdir()) == []


def test_lines_are_forced_onto_the_disk_while_postgres_hangs(tmp_path, monkeypatch):
    hangs, synced, sync = threading.Event(), threading.Event(), os.fsync

    def fsync(file):
        sync(file)
        synced.set()

    monkeypatch.setattr(os, "fsync", fsync)
    book = Journal(tmp_path, lambda records: hangs.wait(10), every_s=0.001, sync_s=0.001)
    book.start()
    try:
        for _ in range(3):
            entry = record()
            book.accept(entry)
            book.end(ended(entry))
            assert synced.wait(5)
            synced.clear()
    finally:
        hangs.set()
        book.stop()


def test_a_full_segment_is_synced_before_it_is_closed_and_nothing_new_costs_no_sync(tmp_path, monkeypatch):
    inodes = []
    monkeypatch.setattr(os, "fsync", lambda file: inodes.append(os.fstat(file).st_ino))
    segments = Segments(tmp_path, segment_bytes=10, synced=True)
    first = segments.current.stat().st_ino
    segments.append(b"some line of text\n")
    segments.roll([])
    second = segments.current.stat().st_ino
    segments.append(b"another\n")
    segments.sync()
    assert inodes == [second, first, tmp_path.stat().st_ino]
    segments.sync()
    assert len(inodes) == 3
    segments.append(b"a third\n")
    segments.sync()
    assert inodes[3:] == [second]
    segments.close(empty=True)


def test_lines_are_read_whole_and_what_is_torn_or_still_being_written_is_not(tmp_path, monkeypatch):
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"first\n\nsecond\nthi")

    assert read_lines(path, 0) == ([b"first\n", b"\n", b"second\n"], 14, True)
    assert read_lines(path, 14) == ([], 14, True)
    monkeypatch.setattr(segments_module, "READ_BYTES", 8)
    assert read_lines(path, 0) == ([b"first\n", b"\n"], 7, False)
