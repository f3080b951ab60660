"""What is read of a body, what is refused of it, and what the engine gets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers import Caller
from gateway.endpoints import ENDPOINTS
from gateway.errors import Invalid, InvalidJson, ModelNotFound, Refused
from gateway.input_errors import TooComplex
from gateway.jobs import Parser
from scheduling.core.prediction import Estimates
from tests.fakes.gateway import MODEL, Cast

POLICY = Cast.of("research").policy()
CALLER = Caller(7, "research", "ci")
CHAT, COMPLETIONS, EMBEDDINGS = (
    ENDPOINTS[f"/v1/{name}"] for name in ("chat/completions", "completions", "embeddings")
)
HELLO = [{"role": "user", "content": "hello"}]


def parse(body, headers=None, endpoint=CHAT, estimates=None):
    parser = Parser(b"salt", estimates or Estimates(), queue_timeout_s=600)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parser.parse(endpoint, headers or {}, raw, CALLER, POLICY)


def chat(**members):
    return {"model": MODEL, "messages": HELLO, **members}


def test_values_pass_byte_for_byte():
    messages = b'[ {"role":"user","content":"\\u00e9 1e2"} ]'
    body = b'{"model" : "demo-8b", "messages": %s, "seed": 1.0e+2, "x": 98765432109876543210}' % messages
    job = parse(body)
    assert messages in job.body
    assert b'"seed":1.0e+2' in job.body
    assert b'"x":98765432109876543210' in job.body


@given(
    extra=st.dictionaries(
        st.text(min_size=1).filter(lambda name: name not in ENDPOINT_NAMES),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
        max_size=6,
    )
)
def test_unknown_members_reach_the_engine_as_they_are(extra):
    job = parse(json.dumps({**chat(), **extra}, ensure_ascii=True).encode())
    assert json.loads(job.body) == {**chat(), **extra}


ENDPOINT_NAMES = {
    "model", "messages", "stream", "priority", "user", "service_tier", "stream_options", "max_tokens",
    "max_completion_tokens", "max_output_tokens", "n", "best_of", "tools", "timeout_ms", "metadata",
    "logprobs", "top_logprobs",
}  # fmt: skip


def test_a_name_that_comes_twice_is_read_and_forwarded_once():
    body = b'{"model":"evil","messages":[{}],"model":"demo-8b","stream":true,"stream":false}'
    job = parse(body)
    assert (job.terms.model, job.stream) == (MODEL, False)
    assert job.body.count(b'"model"') == 1
    assert job.body.count(b'"stream"') == 1


def test_a_clients_own_priority_is_never_forwarded_however_it_is_spelt():
    body = b'{"model":"demo-8b","messages":[{}],"priority":-9,"prior\\u0069ty":-8}'
    assert "priority" not in json.loads(parse(body).body)


@pytest.mark.parametrize(
    ("options", "sent", "strip"),
    [
        pytest.param(None, {"include_usage": True}, True, id="not asked"),
        pytest.param({}, {"include_usage": True}, True, id="empty"),
        pytest.param({"include_usage": True}, {"include_usage": True}, False, id="asked"),
        pytest.param({"include_usage": False, "x": 1}, {"include_usage": True, "x": 1}, True, id="declined"),
    ],
)
def test_usage_is_always_asked_of_a_stream_and_stripped_unless_the_client_asked(options, sent, strip):
    members = {} if options is None else {"stream_options": options}
    job = parse(chat(stream=True, **members))
    assert json.loads(job.body)["stream_options"] == sent
    assert job.strip_usage is strip


def test_a_request_without_streaming_is_not_changed():
    job = parse(chat(temperature=0.5))
    assert json.loads(job.body) == chat(temperature=0.5)
    assert not job.strip_usage


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"model": "m" * 201}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": " "}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": None}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**8}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"user": 5}, "user"),
        ({"user": "u" * 513}, "user"),
        ({"service_tier": 5}, "service_tier"),
        ({"stream": True, "stream_options": 5}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "x"}}, "include_usage"),
    ],
)
def test_a_bad_field_is_named(members, param):
    with pytest.raises(Invalid) as refused:
        parse(chat(**members))
    assert refused.value.param == param
    assert param in str(refused.value)


@pytest.mark.parametrize("name", ["model", "messages"])
def test_a_missing_field_is_named(name):
    members = chat()
    del members[name]
    with pytest.raises(Invalid) as refused:
        parse(members)
    assert refused.value.param == name


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"3", b'"x"', b"{", b'{"model"}', b'{"a":1}x', b'{"a":NaN}', b'\xef\xbb\xbf{}',
        b'{"model":"\xff"}', b'{"a":"\x00"}', b'{"a":"\\ud800"}',
        "{\"a\":1}".encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_not_one_json_object_in_utf8_is_invalid(body):
    with pytest.raises(InvalidJson):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    ],
    ids=["lists", "objects"],
)
def test_what_is_nested_so_deeply_that_nobody_can_read_it_is_too_complex(body):
    with pytest.raises(TooComplex):
        parse(body)


def test_thousands_of_members_are_refused():
    with pytest.raises(Invalid, match="at most 256"):
        parse({f"k{number}": number for number in range(257)})


@given(st.binary(max_size=200))
def test_no_body_does_more_than_be_refused(body):
    with pytest.raises(Refused):
        parse(body)


def test_an_unknown_model_is_not_found():
    with pytest.raises(ModelNotFound) as refused:
        parse({**chat(), "model": "gpt-7"})
    assert refused.value.param == "model"


def test_a_null_field_is_a_field_that_was_not_sent():
    job = parse(chat(stream=None, max_tokens=None, user=None, n=None, stream_options=None, service_tier=None))
    assert (job.stream, job.user) == (False, "")


def test_a_prompt_costs_a_token_in_four_bytes():
    short, long = parse(chat()), parse(chat(messages=[{"role": "user", "content": "x" * 4000}]))
    assert long.prompt_tokens - short.prompt_tokens == pytest.approx(1000, abs=2)


def test_a_prompt_of_token_numbers_is_counted():
    job = parse({"model": MODEL, "prompt": [11, 12, 13]}, endpoint=COMPLETIONS)
    assert job.prompt_tokens == 3
    job = parse({"model": MODEL, "input": [[1, 2], [3, 4]]}, endpoint=EMBEDDINGS)
    assert job.prompt_tokens == 4


@pytest.mark.parametrize(("endpoint", "name"), [(COMPLETIONS, "prompt"), (EMBEDDINGS, "input")])
def test_a_text_that_begins_with_a_digit_costs_what_other_texts_cost(endpoint, name):
    texts = ["2027 " + "x" * 4000, "year " + "x" * 4000]
    costs = [parse({"model": MODEL, name: each}, endpoint=endpoint).prompt_tokens for each in texts]
    assert costs[0] == costs[1] == pytest.approx(1000, abs=2)


@pytest.mark.parametrize(
    ("members", "expected"),
    [({}, 256), ({"max_tokens": 10}, 10), ({"max_tokens": 9999}, 256), ({"max_completion_tokens": 5}, 5),
     ({"max_tokens": 10, "n": 3}, 30), ({"max_tokens": 10, "best_of": 4}, 40)],
)  # fmt: skip
def test_an_answer_is_as_long_as_expected_or_allowed(members, expected):
    assert parse(chat(**members)).completion_tokens == expected


@pytest.mark.parametrize(
    ("prompt", "answers"),
    [("one, two", 1), ([11, 12, 13], 1), (["one", "two, three"], 2), ([[1, 2], [3], [4]], 3), ([], 1)],
)
def test_each_prompt_of_a_list_is_charged_an_answer(prompt, answers):
    job = parse({"model": MODEL, "prompt": prompt, "max_tokens": 10, "n": 2}, endpoint=COMPLETIONS)
    assert (job.completion_tokens, job.kv_completion_tokens) == (20 * answers, 20)


@pytest.mark.parametrize(
    ("members", "charged", "reserved"),
    [({}, 3_200, 300), ({"max_tokens": 100}, 100, 100), ({"max_tokens": 400, "n": 3}, 1_200, 900)],
)
def test_an_answer_reserves_memory_by_its_pools_median(members, charged, reserved):
    estimates = Estimates()
    for tokens in (300, 300, 9_000):
        estimates.learn("research", MODEL, Cast.of("research").policy().models[MODEL], tokens)

    job = parse(chat(**members), estimates=estimates)
    assert (job.completion_tokens, job.kv_completion_tokens) == (charged, reserved)


def test_embeddings_generate_nothing_and_never_stream():
    job = parse({"model": MODEL, "input": "x", "stream": True}, endpoint=EMBEDDINGS)
    assert (job.completion_tokens, job.stream, job.endpoint.generates) == (0, False, False)
    assert job.kv_completion_tokens == 0


def test_a_user_is_known_by_a_digest_only():
    job = parse(chat(user="alice@example.org"))
    other = parse(chat(user="bob@example.org"))
    assert "alice" not in job.user
    assert job.user == parse(chat(user="alice@example.org")).user != other.user
    assert job.user == parse(chat(), {b"x-end-user-id": b"alice@example.org"}).user


def test_a_request_without_a_user_belongs_to_its_api_token():
    job = parse(chat())
    assert (job.user, job.terms.user) == ("", "token-7")


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({}, 600_000),
        ({b"x-stainless-read-timeout": b"5"}, 4_750),
        ({b"x-request-timeout": b"1.5"}, 1_500),
        ({b"x-stainless-read-timeout": b"86400"}, 600_000),
        ({b"x-stainless-read-timeout": b"nan"}, 600_000),
        ({b"x-request-timeout": b"-1"}, 600_000),
        ({b"x-request-timeout": b"soon"}, 600_000),
    ],
)
def test_a_client_that_waits_less_than_the_knob_is_believed(headers, wait_ms):
    assert parse(chat(), headers).wait_ms == wait_ms
