"""How an API of the data plane says what is not an answer: refusals, errors in a stream, and waiting."""

from __future__ import annotations

from gateway.errors import Refused
from gateway.headers import Headers, RequestId, refusal_headers


class Dialect:
    """OpenAI's ways, which most APIs share. A subclass has those of another."""

    working = b": working\n\n"  # for a stream whose engine is silent

    def refusal(self, refused: Refused, request_id: RequestId) -> tuple[Headers, bytes]:
        """The headers and the body of a response that refuses a request."""
        return refusal_headers(refused, request_id), self.error(refused, request_id)

    def error(self, refused: Refused, request_id: RequestId) -> bytes:
        """The refusal as JSON."""
        return refused.body()

    def last_words(self, refused: Refused, request_id: RequestId) -> bytes:
        """The refusal as an event, for a stream that breaks off."""
        return b"data: " + self.error(refused, request_id) + b"\n\n"

    def waiting(self, position: int, wait_ms: int | None) -> bytes:
        """What a waiting stream is told: its place in line, and about how long it will take."""
        eta = b"" if wait_ms is None else b" eta=%.1fs" % (wait_ms / 1000)
        return b": queued position=%d%b\n\n" % (position, eta)


OPENAI = Dialect()
