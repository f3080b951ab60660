"""One JSON line per request, safe to print, and never in the way."""

from __future__ import annotations

import json

from gateway.access_log import OFF, STDERR, AccessLog
from gateway.records import Record


def record(**changes) -> Record:
    values = {
        "request_id": "req_1", "accepted_at": 1000.0, "tenant": "chat", "model": "m",
        "priority_class": "batch", "endpoint": "/v1/completions", "stream": True, "queued_at": 1000.0,
        "dispatched_at": 1000.25, "first_token_at": 1000.5, "ended_at": 1002.0, "outcome": "ok",
        "status": 200,
    }  # fmt: skip
    return Record(**{**values, **changes})


def access_log(tmp_path, where="log/access.jsonl", most_bytes=10**6) -> AccessLog:
    return AccessLog(where, tmp_path, "host-7", most_bytes)


def lines(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "log/access.jsonl").read_bytes().splitlines()]


def test_a_line_says_who_what_how_long_and_how_it_ended(tmp_path):
    access_log(tmp_path).write([record(api_token_id=3, client_request_id="mine", cost=9, policy_revision=4)])
    (line,) = lines(tmp_path)
    assert line["ts"] == "1970-01-01T00:16:42Z"
    assert (line["event"], line["worker"], line["request_id"]) == ("access", "host-7", "req_1")
    assert (line["client_request_id"], line["tenant"], line["token_id"]) == ("mine", "chat", 3)
    assert (line["queue_ms"], line["ttft_ms"], line["total_ms"]) == (250, 500, 2000)
    assert (line["class"], line["outcome"], line["status"], line["cost"]) == ("batch", "ok", 200, 9)
    assert line["policy_version"] == 4


def test_what_never_happened_is_null(tmp_path):
    access_log(tmp_path).write([record(dispatched_at=None, first_token_at=None)])
    (line,) = lines(tmp_path)
    assert (line["queue_ms"], line["ttft_ms"], line["total_ms"]) == (None, None, 2000)


def test_no_name_can_break_a_line_or_move_a_cursor(tmp_path):
    name = "a\nb\x1b[2J\x7f\x9b1m\u2028é"
    access_log(tmp_path).write([record(model=name)])
    text = (tmp_path / "log/access.jsonl").read_text()
    assert [character for character in text[:-1] if not character.isprintable()] == []
    assert json.loads(text)["model"] == name


def test_a_large_file_is_put_aside_and_one_that_was_moved_is_begun_anew(tmp_path):
    log = access_log(tmp_path, most_bytes=4096)
    for number in range(30):
        log.write([record(request_id=f"req_{number}")])
    old = (tmp_path / "log/access.jsonl.old").read_bytes()
    assert 4096 < len(old) < 5000
    (tmp_path / "log/access.jsonl").unlink(missing_ok=True)
    log.write([record()])
    assert len(lines(tmp_path)) == 1


def test_a_log_that_cannot_be_written_holds_nothing_up(tmp_path, caplog):
    (tmp_path / "log").write_text("a file where the folder should be")
    log = access_log(tmp_path)
    for _ in range(3):
        log.write([record()])
    assert caplog.text.count("cannot be written") == 1


def test_lines_go_to_stderr_or_nowhere(tmp_path, capfdbinary):
    assert not access_log(tmp_path, OFF).on
    access_log(tmp_path, STDERR).write([record()])
    assert json.loads(capfdbinary.readouterr().err)["request_id"] == "req_1"
    assert list(tmp_path.iterdir()) == []
