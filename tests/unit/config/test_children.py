from __future__ import annotations

import io
import os

import pytest

from config import lock
from config.child import Child, Program, Stage
from config.output import Output


def a_child() -> Child:
    return Child(Program("web", ("true",), Stage.WORK, stop_s=1), lambda _handle, _name: None)


def test_a_child_that_keeps_dying_is_started_more_and_more_slowly():
    child = a_child()

    assert [child.start_later(now=0) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_a_child_that_lived_well_is_started_again_at_once():
    child = a_child()
    for _ in range(5):
        child.start_later(now=0)

    assert child.start_later(now=31) == 0.5


def test_a_child_waits_for_its_time():
    child = a_child()
    child.start_later(now=0)

    child.start_if_due(now=0.4)

    assert (child.report().state, child.restarts) == ("waiting", 0)


def printed(*chunks: bytes) -> str:
    stream = io.StringIO()
    output = Output(stream, width=4)
    read, write = os.pipe()
    output.add(read, "web")
    for chunk in chunks:
        os.write(write, chunk)
        output.pump(0)
    os.close(write)
    output.pump(0)
    return stream.getvalue()


def test_every_line_bears_the_name_of_its_process():
    assert printed(b"one\ntwo\n") == "web  | one\nweb  | two\n"


def test_a_line_that_comes_in_pieces_is_printed_once_it_is_whole():
    assert printed(b"hel", b"lo\nwor", b"ld") == "web  | hello\nweb  | world\n"


def test_a_line_without_end_is_cut_instead_of_kept():
    assert printed(*[b"x" * 60_000] * 3).count("\n") == 2


def test_bytes_that_are_no_text_are_printed_all_the_same():
    assert printed(b"\xff\n") == "web  | \ufffd\n"


def test_a_data_folder_is_held_by_one_at_a_time_and_the_other_learns_by_whom(tmp_path):
    with lock.hold(tmp_path, "serve"), pytest.raises(lock.Taken, match=r"^serve$"):  # noqa: SIM117
        with lock.hold(tmp_path, "apply"):
            pass


def test_a_data_folder_is_free_again_afterwards(tmp_path):
    with lock.hold(tmp_path, "serve"):
        pass
    with lock.hold(tmp_path, "apply"):
        assert (tmp_path / "run" / "lock").read_text() == "apply"
