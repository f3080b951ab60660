"""What is passed on of the piece in which an engine reports its error."""

from __future__ import annotations

import pytest

from gateway.scanners import without_end

ERROR = b'data: {"error":{"message":"no [DONE] here"}}'


@pytest.mark.parametrize(
    ("events", "passed"),
    [
        (ERROR + b"\n\n", ERROR + b"\n\n"),
        (ERROR + b"\n\ndata: [DONE]\n\n", ERROR + b"\n\n"),
        (ERROR + b"\n\ndata:[DONE]\n\n", ERROR + b"\n\n"),
        (ERROR + b"\r\n\r\ndata: [DONE]\r\n\r\n", ERROR + b"\r\n\r\n"),
        (b"\ndata: [DONE]\n\n", b"\n"),
    ],
    ids=[
        "no end",
        "as vLLM does",
        "without a space",
        "with carriage returns",
        "cut within the error's own end",
    ],
)
def test_an_end_behind_an_error_is_left_out_however_it_is_written_and_cut(events, passed):
    assert without_end(events) == passed
