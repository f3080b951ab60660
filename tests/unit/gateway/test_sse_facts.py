"""What the scanner reads in a stream: the first token, the usage, the end, an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduling.core.usage import Usage
from tests.unit.gateway.scan import DONE, FIGURES, FINISH, ROLE, TEXT, USAGE, Scan, delta, event

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded"


@pytest.mark.parametrize("strip_usage", [True, False])
@pytest.mark.parametrize("recording", ["vllm_0.32.0_stream.txt", "llamacpp_0.3.36_stream.txt"])
def test_recorded_engines_are_read(recording: str, *, strip_usage: bool) -> None:
    raw = (RECORDED / recording).read_bytes()

    scan = Scan(raw, strip_usage=strip_usage)

    assert scan.usage.prompt_tokens == 12
    assert scan.usage.completion_tokens == 8
    assert not scan.usage.estimated
    assert scan.first_tokens == 1
    assert scan.scanner.done
    assert (b'"usage":{' in scan.text) is not strip_usage


@pytest.mark.parametrize(
    "quiet",
    [
        ROLE,
        event(delta(role="assistant", content=None)),
        event(delta(tool_calls=[])),
        event({"choices": [{"text": "", "finish_reason": None}]}),
        b": queued\n\n",
        event({"type": "message_start", "message": {"content": []}}, name="message_start"),
        event({"type": "response.created", "response": {"text": {"format": "x"}}}, name="response.created"),
    ],
)
def test_an_event_without_content_is_not_the_first_token(quiet: bytes) -> None:
    assert Scan(quiet).first_tokens == 0


@pytest.mark.parametrize(
    "loud",
    [
        TEXT,
        event(delta(reasoning_content="hm")),
        event(delta(reasoning="hm")),
        event(delta(content='"')),
        event(delta(tool_calls=[{"index": 0, "function": {"name": "f"}}])),
        event({"choices": [{"text": " a"}]}),
        event({"delta": {"type": "text_delta", "text": "a"}}, name="content_block_delta"),
        event({"type": "response.output_text.delta", "delta": "a"}, name="response.output_text.delta"),
        b'data: {"choices": [{"delta": {"content": "a"}}]}\r\n\r\n',
    ],
)
def test_the_first_token_is_found_once(loud: bytes) -> None:
    assert Scan(ROLE, loud, loud).first_tokens == 1


def test_without_usage_each_event_from_the_first_token_on_counts_as_one() -> None:
    scan = Scan(ROLE, TEXT, TEXT + TEXT, b": ping\n\n", TEXT)

    assert scan.usage.completion_tokens == 4
    assert scan.usage.estimated
    assert scan.usage.prompt_tokens == 5


def test_embeddings_have_no_completion_to_count() -> None:
    assert Scan(TEXT, TEXT, measures_tokens=False).usage.completion_tokens == 0


@pytest.mark.parametrize("figure", [-1, 10**8 + 1, 10**9, "12", 1.5, True, None, [], 10**40])
def test_an_absurd_figure_leaves_the_estimate_in_force(figure: object) -> None:
    for key in ("prompt_tokens", "completion_tokens"):
        usage = event({"choices": [], "usage": {**FIGURES, key: figure}})

        scan = Scan(TEXT + TEXT + usage + DONE)
        assert scan.usage == Usage(5, 0, 2, estimated=True)


def test_usage_that_comes_twice_counts_once() -> None:
    assert Scan(TEXT, USAGE, USAGE, DONE).usage == Usage(12, 8, 34, estimated=False)


def test_null_usage_in_every_chunk_is_no_usage() -> None:
    chunk = event({**delta(content="a"), "usage": None})

    scan = Scan(*[chunk] * 5, strip_usage=True)

    assert scan.text == chunk * 5
    assert scan.usage.completion_tokens == 5


def test_what_the_model_writes_is_never_taken_for_the_protocol() -> None:
    said = 'data: [DONE]\n\n"usage":{"completion_tokens":9},"error":{"a":1},"finish_reason":"stop"'
    wicked = event(delta(content=said))

    scan = Scan(TEXT, wicked, TEXT, strip_usage=True)

    assert scan.text == TEXT + wicked + TEXT
    assert scan.usage == Usage(5, 0, 3, estimated=True)
    assert not scan.scanner.complete
    assert not scan.scanner.errored


@pytest.mark.parametrize(
    ("last", "complete"),
    [
        pytest.param(DONE, True, id="done"),
        pytest.param(b"data:[DONE]\r\n\r\n", True, id="done without a space, CRLF"),
        pytest.param(FINISH, True, id="an engine that sends no done"),
        pytest.param(TEXT, False, id="cut off"),
        pytest.param(DONE[:-4], False, id="done itself cut off"),
    ],
)
def test_a_stream_is_whole_only_with_its_end(last: bytes, *, complete: bool) -> None:
    assert Scan(ROLE, TEXT, last).scanner.complete is complete


@pytest.mark.parametrize("name", ["message_stop", "response.completed", "response.failed"])
def test_the_other_apis_end_with_an_event_of_their_own(name: str) -> None:
    begin = event({"type": "x"}, name="x")

    assert Scan(begin, event({"type": name}, name=name)).scanner.done


def test_the_messages_api_reports_prompt_and_completion_apart() -> None:
    start = event({"message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}, name="message_start")
    text = event({"delta": {"text": "a"}}, name="content_block_delta")
    last = event({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}, name="message_delta")

    assert Scan(start, text, text).usage == Usage(7, 0, 2, estimated=True)
    assert Scan(start, text, text, last).usage == Usage(7, 0, 9, estimated=False)


def test_the_responses_api_reports_inside_its_last_event() -> None:
    figures = {"input_tokens": 7, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 3}}
    last = event({"response": {"usage": figures}}, name="response.completed")

    assert Scan(event({"delta": "a"}, name="d"), last).usage == Usage(7, 3, 9, estimated=False)


@pytest.mark.parametrize(
    "error",
    [
        event({"error": {"message": "out of memory", "code": 500}}),
        event({"object": "error", "message": "out of memory"}),
        event({"type": "error", "error": {"type": "overloaded_error"}}, name="error"),
    ],
)
def test_an_error_event_is_noticed(error: bytes) -> None:
    scan = Scan(TEXT, error)

    assert scan.scanner.errored
