"""The ways of OpenAI's Responses API, where they differ from its older APIs."""

from __future__ import annotations

import msgspec

from gateway.dialect import Dialect
from gateway.errors import Refused
from gateway.headers import RequestId


class ResponsesDialect(Dialect):
    """Every event has a name, errors too.

    A stream that waits gets comments and not ``response.queued``: that event
    holds a response, which has no id before an engine gave it one, and
    openai-python 3.54 raises RuntimeError when anything comes before
    ``response.created``.
    """

    def last_words(self, refused: Refused, request_id: RequestId) -> bytes:
        """The event ``error``.

        Its members stand both at the top, as documented, and in ``error``,
        as the service sends them: some clients read one, some the other.
        """
        error = msgspec.json.decode(self.error(refused, request_id)).get("error")
        event = {**error, "type": "error", "sequence_number": 0, "error": error}
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


RESPONSES = ResponsesDialect()
