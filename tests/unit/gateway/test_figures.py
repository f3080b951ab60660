"""Figures that are found the short way, beside the general way to find them."""

from __future__ import annotations

import pytest

from gateway.reported import JsonScanner, note_answer, note_bare, note_event, note_last
from scheduling.core.usage import Usage

FIGURES = (b"1", b"0", b"-1", b"1.0", b"true", b"null", b'"1"', b"100000001", b"9" * 30)
MORE = (
    b"", b',"total_tokens":3', b',"prompt_tokens_details":null',
    b',"prompt_tokens_details":{"cached_tokens":1}',
    b',"input_tokens":4', b',"input_tokens":null', b',"output_tokens":4', b',"prompt_tokens":7',
    b',"cache_read_input_tokens":1', b',"input_tokens_details":{"cached_tokens":1}',
    b',"bad":\xff', b',"x":NaN',
)  # fmt: skip
AROUND = (
    b'{"choices":[],"usage":%b}', b'{"usage":%b,"usage":{"prompt_tokens":9,"completion_tokens":9}}', b"[%b]",
    b'{"usage":null,"more":{"usage":%b}}', b'{"text":"\\"usage\\"","usage": %b}', b'{"usage":%b',
    b'{"usage":%b}\n ',
)  # fmt: skip


@pytest.mark.parametrize("measures_tokens", [True, False])
def test_an_answer_in_one_piece_reports_what_one_in_pieces_does(measures_tokens) -> None:
    for around in AROUND:
        for prompt in FIGURES:
            for completion in FIGURES:
                for more in MORE:
                    said = b'{"prompt_tokens":%b,"completion_tokens":%b%b}' % (prompt, completion, more)
                    body = around % said
                    at_once, pieces = Usage(prompt_tokens=5), Usage(prompt_tokens=5)
                    whole = (measures_tokens and note_last(body, at_once)) or note_answer(
                        body, at_once, measures_tokens=measures_tokens
                    )
                    scanner = JsonScanner(pieces, measures_tokens=measures_tokens)
                    for at in range(0, len(body), 16):
                        scanner.feed(body[at : at + 16])
                    scanner.finish()
                    assert (whole, at_once) == (scanner.complete, pieces), body


LINES_OF_USAGE = (
    b'data: {"id":"x","choices":[],"usage":{%b}}', b'data: {"usage":{%b},"choices":[]}',
    b'data: {"choices":[{"index":0}],"choices":[],"usage":{%b}}', b'data: {"choices":[],"usage":{%b}}}',
    b'data: {"message":{"usage":{"prompt_tokens":9}},"choices":[],"usage":{%b}}',
    b'data: {"a":{"choices":[],"usage":{%b}}', b'data: {"usage":null,"choices":[],"usage":{%b}}',
    b'data: {"choices":[],"usage":{%b},"usage":null}', b'data: {"choices":[],"usage":{%b}} ',
)  # fmt: skip
SAID = (
    b'"prompt_tokens":1,"completion_tokens":2,"total_tokens":3', b'"prompt_tokens":1', b"",
    b'"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}',
    b'"prompt_tokens":-1,"completion_tokens":2', b'"prompt_tokens":1.5,"completion_tokens":2',
    b'"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":null', b'"prompt_tokens":1,',
    b'"prompt_tokens":7,"completion_tokens":2,"input_tokens":9,"cache_creation_input_tokens":4',
)  # fmt: skip


def test_figures_that_are_found_from_behind_are_those_that_are_parsed() -> None:
    found = 0
    for line in LINES_OF_USAGE:
        for said in SAID:
            usage, parsed = Usage(prompt_tokens=5), Usage(prompt_tokens=5)
            _, bare = note_event(line % said, parsed, measures_tokens=True, prompt_known=False)
            if note_bare(line % said, usage):
                found += 1
                assert (usage, True) == (parsed, bare), line % said
            else:
                assert usage == Usage(prompt_tokens=5)
    assert found >= 4
