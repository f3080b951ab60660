"""Access lines: safe to print, and never in the way. What they say: test_access_lines.py."""

from __future__ import annotations

import json

from gateway.access_log import OFF, STDERR, AccessLog

LINE = '{"event":"access","request_id":"req_1"}\n'


def access_log(tmp_path, where="log/access.jsonl", most_bytes=10**6) -> AccessLog:
    return AccessLog(where, tmp_path, most_bytes)


def test_no_name_can_break_a_line_or_move_a_cursor(tmp_path):
    name = "a\nb\x1b[2J\x7f\x9b1m\u2028é"
    access_log(tmp_path).write(json.dumps({"model": name}, ensure_ascii=False) + "\n")
    text = (tmp_path / "log/access.jsonl").read_text()
    assert [character for character in text[:-1] if not character.isprintable()] == []
    assert json.loads(text)["model"] == name


def test_a_large_file_is_put_aside_and_one_that_was_moved_is_begun_anew(tmp_path):
    log = access_log(tmp_path, most_bytes=4096)
    for number in range(30):
        log.write(f"{number} {'x' * 200}\n")
    old = (tmp_path / "log/access.jsonl.old").read_bytes()
    assert 4096 < len(old) < 5000
    (tmp_path / "log/access.jsonl").unlink(missing_ok=True)
    log.write(LINE)
    assert (tmp_path / "log/access.jsonl").read_text() == LINE


def test_a_log_that_cannot_be_written_holds_nothing_up(tmp_path, caplog):
    (tmp_path / "log").write_text("a file where the folder should be")
    log = access_log(tmp_path)
    for _ in range(3):
        log.write(LINE)
    assert caplog.text.count("cannot be written") == 1


def test_lines_go_to_stderr_or_nowhere(tmp_path, capfdbinary):
    assert not access_log(tmp_path, OFF).on
    access_log(tmp_path, STDERR).write(LINE)
    assert capfdbinary.readouterr().err.decode() == LINE
    assert list(tmp_path.iterdir()) == []
