"""What each path of the data plane reads in a body, refuses of it, and sends to an engine."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import hypothesis
import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from config import knobs
from gateway.asides import ASIDES
from gateway.callers import Caller
from gateway.dialect_messages import MESSAGES
from gateway.endpoints import ENDPOINTS, OWN_NAMES, dialect_of, path_at, relayed
from gateway.errors import Invalid
from gateway.jobs import Parser
from scheduling.core.prediction import Estimates
from tests.fakes.gateway import MODEL, Cast

CAST = Cast.of("research")
CALLER = Caller(7, "research", "ci")
LONG = "x" * 4000
HELLO = [{"role": "user", "content": "hello"}]
LEAST = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": "once"},
    "/v1/embeddings": {"input": "once"},
    "/v1/responses": {"input": "once"},
    "/v1/messages": {"messages": HELLO, "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/rerank": {"query": "who", "documents": ["a", "b"]},
    "/v1/score": {"text_1": "a", "text_2": ["b"]},
    "/v1/tokenize": {"prompt": "once"},
    "/v1/detokenize": {"tokens": [1, 2]},
    "/v1/moderations": {"input": "once"},
}  # fmt: skip
PATHS = {path: each for path, each in relayed("/v1/moderations").items() if not each.form}
TOKENIZERS = ("/v1/messages/count_tokens", "/v1/tokenize", "/v1/detokenize")


def parse(path, headers=None, caller=CALLER, **members):
    parser = Parser(b"salt", Estimates(), queue_timeout_s=600)
    body = json.dumps({"model": MODEL, **LEAST[path], **members}).encode()
    return parser.parse(PATHS[path], headers or {}, body, caller, CAST.policy())


@pytest.mark.parametrize("path", PATHS)
@hypothesis.settings(max_examples=15)
@given(
    extra=st.dictionaries(
        st.text(min_size=1).map(lambda name: f"x_{name}"),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3),
        max_size=3,
    )
)
def test_unknown_members_reach_the_engine_as_they_are_on_every_path(path, extra):
    sent = json.loads(parse(path, **extra).body)
    sets = {name: json.loads(value) for name, value in PATHS[path].sets}
    assert sent == {"model": MODEL, **LEAST[path], **extra, **sets}


@pytest.mark.parametrize("path", PATHS)
def test_neither_a_priority_nor_a_tier_reaches_an_engine(path):
    sent = json.loads(parse(path, priority=-9, service_tier="fast").body)
    assert not {"priority", "service_tier"} & sent.keys()


@pytest.mark.parametrize("path", PATHS)
def test_only_what_generates_streams_and_expects_an_answer(path):
    job = parse(path, stream=True)
    generates = path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
    assert (job.endpoint.generates, job.stream, job.completion_tokens > 0) == (generates,) * 3


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_an_api_whose_streams_report_usage_anyway_is_not_asked_to(path):
    job = parse(path, stream=True)
    assert "stream_options" not in json.loads(job.body)
    assert not job.strip_usage


@pytest.mark.parametrize(
    ("path", "name", "n"),
    [("/v1/responses", "max_output_tokens", 1), ("/v1/messages", "max_tokens", 1),
     ("/v1/completions", "max_tokens", 3)],
)  # fmt: skip
def test_each_api_has_its_own_word_for_the_longest_answer(path, name, n):
    assert parse(path, **{name: 20}, n=3).completion_tokens == 20 * n


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/responses", "max_output_tokens"), ("/v1/messages", "max_tokens")],
)
@pytest.mark.parametrize("value", [0, -1, 1.5, "9", 10**9])
def test_an_absurd_length_is_refused_by_its_name(path, name, value):
    with pytest.raises(Invalid) as refused:
        parse(path, **{name: value})
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/responses", "input"),
        ("/v1/messages", "messages"),
        ("/v1/messages", "max_tokens"),
        ("/v1/messages/count_tokens", "messages"),
        ("/v1/rerank", "documents"),
        ("/v1/rerank", "query"),
        ("/v1/score", "text_1"),
        ("/v1/tokenize", "prompt"),
        ("/v1/detokenize", "tokens"),
    ],
)
def test_what_a_path_cannot_do_without_is_named(path, name):
    with pytest.raises(Invalid, match=f"{name} (is missing|must be)") as refused:
        parse(path, **{name: None})
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/responses", {"instructions": LONG}),
        ("/v1/responses", {"tools": [{"name": LONG}]}),
        ("/v1/messages", {"system": LONG}),
        ("/v1/messages", {"tools": [{"name": LONG}]}),
        ("/v1/rerank", {"query": LONG}),
        ("/v1/rerank", {"documents": ["a", LONG]}),
        ("/v1/score", {"text_2": [LONG]}),
        ("/v1/moderations", {"anything": LONG}),
    ],
)
def test_all_that_a_model_reads_is_counted(path, members):
    assert 990 < parse(path, **members).prompt_tokens - parse(path).prompt_tokens < 1010


@pytest.mark.parametrize("path", TOKENIZERS)
def test_what_only_the_tokenizer_reads_costs_one_token(path):
    grown = {name: LEAST[path][name] * 500 for name in LEAST[path]}
    assert parse(path, **grown).prompt_tokens == parse(path).prompt_tokens == 1


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/tokenize", {"messages": HELLO}),
        ("/v1/tokenize", {"content": "llama.cpp's"}),
        ("/v1/tokenize", {"inputs": "TGI's"}),
        ("/v1/score", {"queries": "a", "documents": ["b"]}),
        ("/v1/score", {"query": "a", "items": ["b"]}),
        ("/v1/score", {"data_1": "a", "data_2": "b"}),
        ("/v1/score", {"text_1": {"content": []}, "text_2": {"content": []}}),
    ],
)
def test_engines_have_other_words_for_the_same(path, members):
    parser = Parser(b"salt", Estimates(), queue_timeout_s=600)
    body = json.dumps({"model": MODEL, **members}).encode()
    job = parser.parse(PATHS[path], {}, body, CALLER, CAST.policy())
    assert json.loads(job.body) == {"model": MODEL, **members}


@pytest.mark.parametrize(
    ("name", "value"),
    [("background", True), ("previous_response_id", "resp_1"), ("conversation", {"id": "c"})],
)
def test_a_response_that_would_have_to_be_kept_is_refused_by_the_field_that_asks_for_it(name, value):
    with pytest.raises(Invalid, match=name) as refused:
        parse("/v1/responses", **{name: value})
    assert refused.value.param == name


@pytest.mark.parametrize("store", [True, False, None])
def test_no_engine_is_told_to_keep_a_response(store):
    job = parse("/v1/responses", store=store, background=False, previous_response_id=None)
    assert json.loads(job.body)["store"] is False


def test_a_messages_user_stands_in_its_metadata():
    job = parse("/v1/messages", metadata={"user_id": "alice"})
    assert job.user == parse("/v1/chat/completions", user="alice").user
    assert parse("/v1/messages", user="alice").user == ""
    assert parse("/v1/messages", metadata={}).user == ""


@pytest.mark.parametrize("metadata", [5, {"user_id": 5}, {"user_id": "u" * 513}])
def test_a_bad_user_is_named(metadata):
    with pytest.raises(Invalid, match="metadata"):
        parse("/v1/messages", metadata=metadata)


def test_only_the_headers_of_its_api_go_on_to_the_engine():
    headers = {b"anthropic-version": b"2023-06-01", b"anthropic-beta": b"x", b"cookie": b"y"}
    passed = {b"anthropic-version": b"2023-06-01", b"anthropic-beta": b"x"}
    assert dict(parse("/v1/messages", headers).headers) == passed
    assert parse("/v1/chat/completions", headers).headers == ()


def test_a_prompts_beginning_is_what_the_model_reads_first():
    policy = CAST.policy()
    pools = {name: replace(rule, prefix_slack_requests=2) for name, rule in policy.pools.items()}
    policy = replace(policy, pools=MappingProxyType(pools))

    def prefixes(**members):
        body = json.dumps({"model": MODEL, **LEAST["/v1/messages"], **members}).encode()
        job = Parser(b"s", Estimates(), 600).parse(ENDPOINTS["/v1/messages"], {}, body, CALLER, policy)
        return job.prefixes

    other = [{"role": "user", "content": "another question"}]
    assert prefixes(system=LONG)[0] == prefixes(system=LONG, messages=other)[0]
    assert prefixes(system=LONG)[0] != prefixes(system="y" * 4000)[0]


@pytest.mark.parametrize("path", PATHS)
def test_a_list_of_objects_is_a_prompt_on_every_path_that_has_one(path):
    """So the parser need not look at what its messages begin with."""
    assert b"[" in PATHS[path].shapes


# -- where engines serve what


@pytest.mark.parametrize(
    ("path", "engine", "at"),
    [
        ("/v1/tokenize", "vllm", "/tokenize"),
        ("/v1/tokenize", "llamacpp", "/tokenize"),
        ("/v1/detokenize", "tgi", "/detokenize"),
        ("/v1/tokenize", "openai", "/v1/tokenize"),
        ("/v1/rerank", "vllm", "/v1/rerank"),
        ("/v1/moderations", "vllm", "/v1/moderations"),
    ],
)
def test_an_engine_is_asked_where_it_serves_a_path(path, engine, at):
    assert path_at(path, engine) == at


def test_an_admins_list_adds_paths_and_changes_none():
    assert {**relayed(" /v1/moderations , /v1/audio/speech,, ")}.keys() == {
        *ENDPOINTS, "/v1/moderations", "/v1/audio/speech",
    }  # fmt: skip
    assert relayed("") == ENDPOINTS


def test_no_path_that_is_answered_here_can_be_passed_on() -> None:
    assert ASIDES.keys() == OWN_NAMES


@pytest.mark.parametrize(
    "paths",
    ["moderations", "/v2/rerank", "/v1/", "/v1/a b", "/v1/../x?y", "/v1/models", "/v1/files/x",
     "/v1/embeddings", "/v1/responses/x", "/v1/é", ",".join(f"/v1/x{n}" for n in range(33))],
)  # fmt: skip
def test_a_list_of_paths_that_cannot_be_passed_stops_the_start(paths):
    with pytest.raises(ImproperlyConfigured, match="FAIRLANE_PASSED_PATHS"):
        knobs.read_all({"FAIRLANE_PASSED_PATHS": paths})


def test_what_is_no_path_of_an_api_is_refused_in_that_apis_words():
    assert dialect_of("/v1/messages/batches") is MESSAGES
    assert dialect_of("/v1/messages") is not dialect_of("/v1/messages/x")


@pytest.mark.parametrize(("text", "hold_s"), [(b"0", 0), (b"1500", 1.5), (b"inf", float("inf"))])
def test_a_client_says_how_long_its_status_line_may_be_held_back(text, hold_s):
    assert parse("/v1/messages", {b"x-hold-ms": text}, stream=True).hold_s == hold_s
    assert parse("/v1/messages", stream=True).hold_s is None


@pytest.mark.parametrize(
    ("value", "stream", "kept"),
    [(b"whitespace", False, True), (b"x", False, False), (b"whitespace", True, False), (None, False, False)],
)
def test_only_an_answer_that_is_no_stream_can_wait_behind_blanks(value, stream, kept):
    headers = {} if value is None else {b"x-keepalive": value}
    assert parse("/v1/messages", headers, stream=stream).keep_alive is kept


@pytest.mark.parametrize("text", [b"", b"soon", b"-1", b"nan"])
def test_a_hold_that_is_no_time_is_named(text):
    with pytest.raises(Invalid, match="x-hold-ms"):
        parse("/v1/messages", {b"x-hold-ms": text}, stream=True)


@pytest.mark.parametrize("priority", ["high", 1.5, [], {}])
def test_a_priority_that_is_no_whole_number_is_named(priority):
    with pytest.raises(Invalid, match="priority must be a whole number"):
        parse("/v1/chat/completions", priority=priority)
