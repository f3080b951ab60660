"""From JSON to work, and from words to failures: the pure edges of the simulated engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.simulation.engine.faults import Fault, FaultKind, Faults, parse_fault
from scheduling.simulation.engine.lengths import AnswerLengths
from scheduling.simulation.engine.options import EngineOptions
from scheduling.simulation.engine.prompts import (
    ApiError,
    block_hashes,
    count_tokens,
    read_chat,
    read_completion,
    read_embedding,
    read_json,
)
from scheduling.simulation.engine.request import EngineConfig

CONFIG = EngineConfig(max_model_len=1000)
HELLO = [{"role": "user", "content": "hello"}]


def test_a_prompt_counts_a_token_for_each_four_characters_begun():
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde", [7, 8, 9])] == [1, 1, 1, 2, 3]


def test_a_chat_counts_its_roles_and_texts():
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]

    whole = read_chat({"messages": HELLO}, CONFIG)
    in_parts = read_chat({"messages": [{"role": "user", "content": parts}]}, CONFIG)

    assert whole.prompt_tokens == in_parts.prompt_tokens == 4  # "<|user|>hello" is 13 characters


def test_max_completion_tokens_wins_over_max_tokens():
    assert read_chat({"messages": HELLO, "max_tokens": 5}, CONFIG).max_tokens == 5
    assert read_chat({"messages": HELLO, "max_tokens": 5, "max_completion_tokens": 7}, CONFIG).max_tokens == 7
    assert read_chat({"messages": HELLO}, CONFIG).max_tokens is None
    assert read_completion({"prompt": "a"}, CONFIG).max_tokens == 16


def test_equal_beginnings_have_equal_blocks_and_a_difference_changes_all_that_follow():
    one = block_hashes("a" * 64 + "b" * 64 + "c" * 64, 16)
    two = block_hashes("a" * 64 + "x" * 64 + "c" * 70, 16)

    assert (len(one), len(two)) == (3, 3)
    assert [left == right for left, right in zip(one, two, strict=True)] == [True, False, False]
    assert block_hashes("a" * 63, 16) == ()
    assert len(block_hashes(list(range(33)), 16)) == 2


@pytest.mark.parametrize(
    ("reader", "body", "param"),
    [
        (read_chat, {}, "messages"),
        (read_chat, {"messages": []}, "messages"),
        (read_chat, {"messages": ["hi"]}, "messages"),
        (read_chat, {"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        (read_chat, {"messages": HELLO, "max_tokens": True}, "max_tokens"),
        (read_chat, {"messages": HELLO, "n": 2}, "n"),
        (read_chat, {"messages": HELLO, "priority": "high"}, "priority"),
        (read_chat, {"messages": HELLO, "stream_options": {"include_usage": True}}, "stream_options"),
        (read_chat, {"messages": HELLO, "max_tokens": 997}, None),
        (read_completion, {}, "prompt"),
        (read_completion, {"prompt": ["a", "b"]}, "prompt"),
        (read_completion, {"prompt": "a" * 4001}, None),
        (read_embedding, {}, "input"),
        (read_embedding, {"input": ["a", 3]}, "input"),
        (read_embedding, {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        (read_embedding, {"input": "a" * 4001}, None),
    ],
)
def test_a_wrong_field_is_named_in_a_400(reader, body, param):
    with pytest.raises(ApiError) as refused:
        reader(body, CONFIG)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"'])
def test_a_body_that_is_no_json_object_is_a_400(body):
    with pytest.raises(ApiError) as refused:
        read_json(body)
    assert refused.value.status == 400


def an_ask(**fields):
    return replace(read_chat({"messages": HELLO}, CONFIG), **fields)


def test_without_eos_an_answer_is_exactly_max_tokens_long():
    lengths = AnswerLengths(None, seed=1)

    assert lengths.draw(an_ask(max_tokens=77), room=900) == 77
    assert lengths.draw(an_ask(max_tokens=None), room=900) == 256
    assert lengths.draw(an_ask(max_tokens=None), room=90) == 90


def test_with_eos_answers_end_by_themselves_around_that_mean_and_a_seed_repeats_them():
    ask = an_ask(max_tokens=5000)
    lengths = AnswerLengths(100, seed=1)
    drawn = [lengths.draw(ask, room=8000) for _ in range(2000)]

    again = AnswerLengths(100, seed=1)
    assert drawn == [again.draw(ask, room=8000) for _ in range(2000)]
    assert sum(drawn) / len(drawn) == pytest.approx(100, rel=0.1)
    assert max(lengths.draw(an_ask(max_tokens=50), 8000) for _ in range(200)) == 50
    assert min(lengths.draw(an_ask(max_tokens=5000, min_tokens=60), 8000) for _ in range(200)) == 60
    assert lengths.draw(an_ask(max_tokens=5000, ignore_eos=True), 8000) == 5000


@pytest.mark.parametrize("text", ["http_500", "reset_mid:5", "http_503:2@0.25*3", "metrics_slow:0.5"])
def test_a_failure_reads_back_as_it_is_written(text):
    assert str(parse_fault(text)) == text


def test_a_failure_has_a_number_a_rate_and_a_count():
    assert parse_fault("http_503:2@0.25*3") == Fault(FaultKind.HTTP_503, 2.0, 0.25, 3)


@pytest.mark.parametrize("text", ["", "no_such", "reset_mid:x", "http_500@2", "http_500*-1"])
def test_a_misspelled_failure_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match="failure"):
        parse_fault(text)


def test_a_failure_with_a_count_is_spent():
    faults = Faults([parse_fault("http_500*2")], seed=0)

    assert [faults.for_request() is not None for _ in range(4)] == [True, True, False, False]


def test_a_failure_with_a_rate_strikes_that_share_and_a_seed_repeats_it():
    def strikes(seed):
        faults = Faults([parse_fault("http_500@0.3")], seed)
        return [faults.for_request() is not None for _ in range(1000)]

    assert sum(strikes(1)) == pytest.approx(300, abs=50)
    assert strikes(1) == strikes(1) != strikes(2)


def test_failures_of_the_page_do_not_strike_requests():
    faults = Faults([parse_fault("metrics_500"), parse_fault("http_500")], seed=0)

    assert faults.for_request().kind is FaultKind.HTTP_500
    assert faults.for_metrics().kind is FaultKind.METRICS_500


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"profile": "abacus"}, "profile"),
        ({"time_scale": 0}, "time_scale"),
        ({"eos": 0}, "eos"),
        ({"ssl_certfile": "cert.pem"}, "ssl_keyfile"),
        ({"failures": ("oops",)}, "oops"),
        ({"scheduling_policy": "lifo"}, "lifo"),
        ({"kv_tokens": 100, "max_model_len": 200}, "max_model_len"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, field):
    with pytest.raises(ValueError, match=field):
        EngineOptions(**options)


def test_the_longest_context_follows_a_small_kv_memory():
    assert EngineOptions(kv_tokens=1000).engine_config().max_model_len == 992
    assert EngineOptions().engine_config().max_model_len == 8192
