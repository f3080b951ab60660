"""How log lines look: for people, or one JSON object a line. Neither lets a control character through."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TextLine(logging.Formatter):
    """``<time> <level> <logger>: <message>``; a traceback keeps its lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without traceback: one line, whatever the message quotes."""
        record.message = escaped(record.message)
        return super().formatMessage(record)


class JsonLine(logging.Formatter):
    """``ts``, ``level``, ``event`` (the logger), ``message``; and ``error``, a traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One object."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return escaped(json.dumps(line))


class WithoutTraceback(logging.Filter):
    """For what a stranger can cause at will: the line alone, as a traceback of ours says no more."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line through, without its traceback."""
        record.exc_info = record.exc_text = None
        return True


def escaped(text: str) -> str:
    """The text with its control characters as ``\\uXXXX``."""
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
