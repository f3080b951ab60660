"""Heads that a connection knows again, and what their requests are told of themselves."""

from __future__ import annotations

from gateway import consumers
from tests.fakes.faulty import says
from tests.fakes.faulty_gateway import BODY, WHOLE, gateway
from tests.integration.test_http_protocol import asks, connect, read_response


async def test_a_known_head_tells_the_length_of_the_body_that_came_with_it_to_whoever_reads_it(monkeypatch):
    told = []
    read = consumers.read_body

    async def read_body(headers, *rest):
        told.append((headers[b"content-length"], body := await read(headers, *rest)))
        return body

    monkeypatch.setattr(consumers, "read_body", read_body)
    async with gateway(says(WHOLE)) as (served, _):
        reader, writer = await connect(served)
        for user in ("anna", "bert", "annabel"):
            writer.write(asks({**BODY, "user": user}, "content-encoding: identity"))
            assert (await read_response(reader))[0] == 200
        writer.close()
    assert [length for length, _ in told] == [b"%d" % len(body) for _, body in told]
    assert len(told[2][1]) == len(told[0][1]) + 3
