"""What the scanners read of the Messages and the Responses API, however the bytes are cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.reported import PARSED_BYTES, JsonScanner, OpaqueScanner
from scheduling.core.usage import Usage
from tests.fakes.dialect_answers import WORDS, message, message_events, response, response_events
from tests.unit.gateway.scan import EVENT_BYTES, Scan, event

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded"
ASKED = {"model": "tiny"}
WITH_TOOL = {"model": "tiny", "tools": [{"name": "weather"}], "instructions": "be brief"}


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


def events(made) -> bytes:
    return b"".join(event(data, name=name) for name, data in made)


STREAMS = {
    "vLLM, messages": (recorded("vllm_0.32.0_messages_stream.txt"), Usage(11, 0, 8, estimated=False)),
    "vLLM, responses": (recorded("vllm_0.32.0_responses_stream.txt"), Usage(11, 0, 8, estimated=False)),
    "llama.cpp, messages": (
        recorded("llamacpp_0.3.36_messages_stream.txt"),
        Usage(12, 11, 8, estimated=False),
    ),
    "llama.cpp, responses": (
        recorded("llamacpp_0.3.36_responses_stream.txt"),
        Usage(12, 11, 8, estimated=False),
    ),
    "messages, cached": (events(message_events(ASKED)), Usage(12, 8, 4, estimated=False)),
    "messages, a tool": (events(message_events(WITH_TOOL)), Usage(12, 8, 4, estimated=False)),
    "responses": (events(response_events(ASKED)), Usage(12, 8, 4, estimated=False)),
    "responses, a tool": (events(response_events(WITH_TOOL)), Usage(12, 8, 4, estimated=False)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_passes_unchanged_and_its_usage_and_end_are_read(name: str) -> None:
    raw, usage = STREAMS[name]

    scan = Scan(raw)

    assert scan.text == raw
    assert scan.usage == usage
    assert scan.first_tokens == 1
    assert scan.scanner.done
    assert not scan.scanner.errored


@pytest.mark.parametrize("name", STREAMS)
def test_the_facts_do_not_depend_on_where_the_bytes_are_cut(name: str) -> None:
    raw, _ = STREAMS[name]
    whole = Scan(raw)

    for cut in range(1, len(raw)):
        scan = Scan(raw[:cut], raw[cut:])
        assert scan.text == raw
        assert scan.usage == whole.usage, cut
        assert scan.first_tokens == 1, cut
        assert scan.scanner.done, cut


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_events_that_come_one_by_one_or_together_say_the_same(name: str, size: int) -> None:
    each = [part + b"\n\n" for part in STREAMS[name][0].rstrip(b"\n").split(b"\n\n")]
    begun = each[: len(each) - 2]  # before usage and the end
    for pieces in (each, begun):
        together = [b"".join(pieces[at : at + size]) for at in range(0, len(pieces), size)]
        bytewise = [bytes([byte]) for byte in b"".join(pieces)]
        assert Scan(*together).facts == Scan(*bytewise).facts


def test_a_long_answer_in_events_is_counted_to_the_token() -> None:
    pieces = [("content_block_delta", {"delta": {"text": f"t{n % 7}"}}) for n in range(200)]
    numbered = [
        ("response.output_text.delta", {"delta": f't{n % 7} event: "x"', "sequence_number": n})
        for n in range(200)
    ]

    for made in (pieces, numbered):
        scan = Scan(*(event(data, name=name) for name, data in [("message_start", {}), *made]))
        assert scan.usage.completion_tokens == 200
        assert scan.first_tokens == 1


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_without_its_last_event_is_not_whole(name: str) -> None:
    raw, _ = STREAMS[name]
    last = raw.rstrip().rindex(b"\n\n")

    assert not Scan(raw[: last + 2]).scanner.done


@pytest.mark.parametrize("made", [message_events, response_events])
def test_until_usage_comes_each_piece_of_an_answer_counts_as_a_token_and_nothing_else(made) -> None:
    named = list(made(ASKED))
    pieces = [number for number, (name, _) in enumerate(named) if name.endswith("delta")]
    broken_off = events(named[: pieces[len(WORDS) - 1] + 4])
    without_end = events((name, data) for name, data in named[: pieces[len(WORDS) - 1] + 1])

    assert Scan(without_end).usage.completion_tokens == len(WORDS)
    assert Scan(broken_off).usage.completion_tokens == len(WORDS)


ECHO = {
    "tools": [{"parameters": {"properties": {"error": {"type": "string"}, "object": {"object": "error"}}}}],
    "metadata": {"error": "none", "usage": {"input_tokens": 0, "output_tokens": 0}},
}


def test_what_a_response_repeats_of_its_request_is_no_error() -> None:
    made = [
        (name, {**data, "response": {**data["response"], **ECHO}} if "response" in data else data)
        for name, data in response_events(ASKED)
    ]
    scan = Scan(events(made))

    assert not scan.scanner.errored
    assert scan.scanner.done
    assert scan.usage == Usage(12, 8, 4, estimated=False)


@pytest.mark.parametrize("before", [0, 600_000, 2_000_000])
def test_what_a_whole_response_repeats_of_its_request_is_no_usage(before: int) -> None:
    answer = {"text": "x" * before, **response(ASKED, "completed", usage=True), **ECHO}
    raw = json.dumps(answer).encode()
    found = Usage(prompt_tokens=5)
    scanner = JsonScanner(found, measures_tokens=True)
    for at in range(0, len(raw), 65_536):
        scanner.feed(raw[at : at + 65_536])
    scanner.finish()

    if len(raw) > PARSED_BYTES:
        assert found == Usage(5, 0, len(raw) // 4, estimated=True)
    else:
        assert found == Usage(12, 8, 4, estimated=False)


def test_what_a_response_repeats_of_its_request_is_no_token() -> None:
    asked = {"model": "tiny", "metadata": {"text": "hello", "content": "hello"}}
    begin = list(response_events(asked))[:2]

    assert Scan(events(begin)).first_tokens == 0


def test_a_last_event_too_large_to_be_read_still_ends_the_stream() -> None:
    name, data = list(response_events({"model": "tiny", "instructions": "x" * EVENT_BYTES}))[-1]
    first = events([("response.output_text.delta", {"delta": "a"})])
    last = event(data, name=name)

    for size in (1, 100, 4096, len(last)):
        pieces = [last[at : at + size] for at in range(0, len(last), size)]
        scan = Scan(first, *pieces)
        assert scan.scanner.done
        assert scan.text == first + last
        assert scan.usage == Usage(5, 0, 1, estimated=True)


@pytest.mark.parametrize(
    "failed",
    [
        ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}),
        ("error", {"type": "error", "code": "server_error", "message": "x", "sequence_number": 3}),
        ("response.failed", {"response": {"error": {"code": "server_error", "message": "x"}}}),
        ("chunk", {"choices": [{"index": 0, "error": {"code": 500, "message": "x"}}]}),
        ("chunk", {"error": "out of memory", "error_type": "generation"}),
        ("chunk", {"object": "error", "message": "x"}),
    ],
)
def test_an_engines_error_is_noticed_in_either_api(failed) -> None:
    begun = events(list(response_events(ASKED))[:6])

    assert Scan(begun + events([failed])).scanner.errored


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        pytest.param(recorded("vllm_0.32.0_messages.json"), Usage(11, 0, 8, estimated=False), id="vLLM M"),
        pytest.param(recorded("vllm_0.32.0_responses.json"), Usage(11, 0, 8, estimated=False), id="vLLM R"),
        pytest.param(
            recorded("llamacpp_0.3.36_messages.json"), Usage(12, 0, 8, estimated=False), id="llama.cpp M"
        ),
        pytest.param(
            recorded("llamacpp_0.3.36_responses.json"), Usage(12, 11, 8, estimated=False), id="llama.cpp R"
        ),
        pytest.param(json.dumps(message(ASKED)).encode(), Usage(12, 8, 4, estimated=False), id="cached"),
        pytest.param(
            json.dumps(
                response(
                    {**ASKED, "tools": [{"usage": {"input_tokens": 1, "output_tokens": 1}}]},
                    "completed",
                    usage=True,
                )
            ).encode(),
            Usage(12, 8, 4, estimated=False),
            id="a tool that would be cheaper",
        ),
    ],
)
def test_the_usage_of_a_whole_answer_is_read_wherever_it_is_cut(raw: bytes, usage: Usage) -> None:
    for cut in range(1, len(raw), 7):
        found = Usage(prompt_tokens=5)
        scanner = JsonScanner(found, measures_tokens=True)
        passed = scanner.feed(raw[:cut]) + scanner.feed(raw[cut:]) + scanner.finish()
        assert (passed, found, scanner.complete) == (raw, usage, True)


def test_an_answer_that_is_no_json_passes_to_its_end() -> None:
    scanner = OpaqueScanner()

    assert scanner.feed(b"RIFF\x00\xff") + scanner.finish() == b"RIFF\x00\xff"
    assert scanner.complete
    assert not scanner.errored
