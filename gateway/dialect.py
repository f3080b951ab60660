"""How an API of the data plane says what is not an answer: refusals, errors in a stream, and waiting."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import Refused
from gateway.head_lines import Lines, Went, answer_lines
from gateway.headers import Headers, RequestId, quota_headers, refusal_headers, stream_headers
from scheduling.core.quota import Granted, Left
from scheduling.core.view import Explanation


class Dialect:
    """OpenAI's ways, which most APIs share. A subclass has those of another."""

    working = b": working\n\n"  # for a stream whose engine is silent

    def status(self, refused: Refused) -> int:
        """The HTTP status of a refusal."""
        return refused.status

    def refusal(self, refused: Refused, request_id: RequestId) -> tuple[Headers, bytes]:
        """The headers and the body of a response that refuses a request."""
        headers = refusal_headers(refused, request_id) + self.id_headers(request_id)
        if refused.left:
            headers += self.quota_headers(refused.left)
        return headers, self.error(refused, request_id)

    def error(self, refused: Refused, request_id: RequestId) -> bytes:
        """The refusal as JSON."""
        return refused.body()

    def last_words(self, refused: Refused, request_id: RequestId) -> bytes:
        """The refusal as an event, for a stream that breaks off."""
        return b"data: " + self.error(refused, request_id) + b"\n\n"

    def waiting(self, position: int, wait_ms: int | None) -> bytes:
        """What a waiting stream is told: its place in line, and about how long it will take."""
        return place_in_line(position, wait_ms) + b"\n"

    def answer_lines(self, went: Went, granted: Granted, request_id: RequestId) -> Lines:
        """How the request went until its answer began."""
        return answer_lines(went, granted)

    def quota_headers(self, left: Mapping[str, Left]) -> Headers:
        """What is left of the minute's allowances."""
        return quota_headers(left)

    def early_headers(self, content_type: bytes, told: Explanation | None, request_id: RequestId) -> Headers:
        """The head of an answer that has not begun, and its place in line while it has one."""
        place = [(b"x-queue-position", b"%d" % told.position)] if told else []
        return stream_headers(content_type) + place + self.id_headers(request_id)

    def id_headers(self, request_id: RequestId) -> Headers:
        """The request's id by another name than everybody's."""
        return []


def place_in_line(position: int, wait_ms: int | None) -> bytes:
    """An SSE comment of one line."""
    eta = b"" if wait_ms is None else b" eta=%.1fs" % (wait_ms / 1000)
    return b": queued position=%d%b\n" % (position, eta)


OPENAI = Dialect()
