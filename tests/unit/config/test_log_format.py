"""Log lines in both forms: nobody who is quoted in one can forge another."""

from __future__ import annotations

import json
import logging

from config.log_format import JsonLine, TextLine

FORGED = "no such model: a\n2026-01-01 INFO audit: all is well\x1b[2J"


def made(message: str, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("gateway", logging.WARNING, "f.py", 1, "refused: %s", (message,), info)


def test_a_message_is_one_line_for_people() -> None:
    line = TextLine().format(made(FORGED))
    assert line.isprintable()
    assert line.endswith(
        "WARNING gateway: refused: " + FORGED.replace("\n", "\\u000a").replace("\x1b", "\\u001b")
    )


def test_a_traceback_for_people_keeps_its_lines() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        line = TextLine().format(made("x", error))
    assert line.splitlines()[-1] == "ValueError: broken"


def test_a_message_and_its_error_are_one_json_object() -> None:
    try:
        raise ValueError("broken\x9b")
    except ValueError as error:
        line = JsonLine().format(made(FORGED, error))
    assert line.isprintable()
    found = json.loads(line)
    assert (found["level"], found["event"], found["message"]) == ("warning", "gateway", f"refused: {FORGED}")
    assert "ValueError: broken" in found["error"]
