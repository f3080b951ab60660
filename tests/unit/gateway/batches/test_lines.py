"""A batch's lines, in and out."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batches import lines
from gateway.batches.checking import MOST_ERRORS, Rules, check
from gateway.batches.lines import BadLine, Tokens
from tests.fakes.batches import CHAT, jsonl, line
from tests.fakes.plane import MODEL

RULES = Rules(CHAT, {MODEL}, most_requests=3, most_line_bytes=1000)


def faults(*texts: bytes) -> list[tuple[object, object]]:
    return [(error["line"], error["code"]) for error in check(texts, RULES).errors]


def test_a_line_gives_its_body_as_it_came():
    body = b'{"model":"m",  "messages":[1e2, "\\u00e9"]}'

    asked = lines.read(
        b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":' + body + b"}", CHAT
    )

    assert (asked.custom_id, asked.model, asked.body) == ("a", "m", body)


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b"", "invalid_json_line", None),
        (b'{"custom_id": "a"', "invalid_json_line", None),
        (b"\xff", "invalid_json_line", None),
        (b'{"a":' * 100_000, "invalid_json_line", None),
        (b"[]", "invalid_request", None),
        (json.dumps(line("a") | {"custom_id": 5}).encode(), "invalid_request", None),
        (json.dumps(line("x" * 513)).encode(), "invalid_custom_id", "custom_id"),
        (json.dumps(line("a") | {"body": []}).encode(), "invalid_request", "body"),
        (json.dumps(line("a", model=None)).encode(), "invalid_request", "body"),
        (json.dumps(line("a", stream=True)).encode(), "invalid_body", "body.stream"),
    ],
)
def test_a_bad_line_says_what_is_wrong(text, code, param):
    with pytest.raises(BadLine) as bad:
        lines.read(text, CHAT)

    assert (bad.value.code, bad.value.param) == (code, param)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_line(text):
    with suppress(BadLine):
        assert lines.read(text, CHAT).custom_id


def test_a_file_is_checked_as_a_whole():
    good = [json.dumps(line(each)).encode() for each in "abc"]

    assert faults(lines.BOM + good[0], b"", good[1], b"  ") == []
    assert check(good, RULES).model == MODEL
    assert faults(*good, json.dumps(line("d")).encode()) == [(None, "too_many_requests")]
    assert faults(good[0], b" " * 1001 + good[1]) == [(2, "line_too_long")]
    assert faults(b"", b" ") == [(None, "empty_file")]
    assert len(faults(*[b"{}"] * 500)) <= MOST_ERRORS


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{\n "a": "x\\ny"\r\n}\n', {"a": "x\ny"}),
        (b"no json\nat all", "no json\nat all"),
        (b"", ""),
        (b"\xff", "\ufffd"),
    ],
)
def test_an_answer_is_one_line_whatever_it_holds(body, wanted):
    text = lines.answered("batch_1-1", "a", "req_1", 200, body)

    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    assert json.loads(text)["response"] == {"status_code": 200, "request_id": "req_1", "body": wanted}


def test_usage_is_read_in_both_ways_of_naming_it():
    chat = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}
    responses = {"input_tokens": 5, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3}}

    assert lines.usage_of(json.dumps({"usage": chat}).encode()) == Tokens(5, 2, 7, 0)
    assert lines.usage_of(json.dumps({"usage": responses}).encode()) == Tokens(5, 0, 7, 3)
    assert lines.usage_of(b"{}") == lines.usage_of(b"nonsense") == Tokens()


def test_what_is_written_is_read_again():
    assert [json.loads(row) for row in jsonl(line("a"), line("b")).splitlines()] == [line("a"), line("b")]
