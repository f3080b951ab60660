"""The scanner changes nothing but the usage event, and its facts do not depend on how bytes are cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sse import HOLD_BYTES, SseScanner
from scheduling.core.usage import Usage

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded"
EVENT_BYTES = 6000  # above the bound of what may be held back, small enough to be passed in a test


def event(data: object, *, end: str = "\n\n", name: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    line = end[: len(end) // 2]
    return (f"event: {name}{line}" if name else "").encode() + f"data: {text}{end}".encode()


def delta(**fields: object) -> dict[str, object]:
    return {"id": "c1", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


ROLE = event(delta(role="assistant", content=""))
TEXT = event(delta(content="Hi"))
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
FIGURES = {"prompt_tokens": 12, "completion_tokens": 34, "prompt_tokens_details": {"cached_tokens": 8}}
USAGE = event({"id": "c1", "choices": [], "usage": FIGURES})
DONE = event("[DONE]")
ANSWER = ROLE + TEXT + TEXT + FINISH


class Scan:
    """One stream through one scanner, in the pieces given."""

    def __init__(self, *pieces: bytes, strip_usage: bool = False, measures_tokens: bool = True) -> None:
        self.usage = Usage(prompt_tokens=5)
        self.first_tokens = 0
        self.scanner = SseScanner(
            self.usage,
            self._first_token,
            strip_usage=strip_usage,
            event_bytes=EVENT_BYTES,
            measures_tokens=measures_tokens,
        )
        self.out = [self.scanner.feed(piece) for piece in pieces]
        self.at_boundary = self.scanner.at_boundary
        self.out.append(self.scanner.finish())

    def _first_token(self) -> None:
        self.first_tokens += 1

    @property
    def text(self) -> bytes:
        return b"".join(self.out)

    @property
    def facts(self) -> tuple[object, ...]:
        scanner = self.scanner
        flags = (scanner.done, scanner.finished, scanner.errored, scanner.complete, self.at_boundary)
        return (self.text, self.usage, self.first_tokens, *flags)


def test_bytes_pass_as_they_came() -> None:
    scan = Scan(ANSWER + USAGE + DONE)

    assert scan.text == ANSWER + USAGE + DONE
    assert scan.scanner.done
    assert scan.usage == Usage(12, 8, 34, estimated=False)


def test_only_the_usage_event_is_left_out() -> None:
    scan = Scan(ROLE, TEXT, TEXT, FINISH, USAGE, DONE, strip_usage=True)

    assert scan.text == ANSWER + DONE
    assert scan.usage.completion_tokens == 34


def test_usage_beside_a_choice_is_read_but_stays() -> None:
    both = event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": FIGURES})

    scan = Scan(TEXT, both, DONE, strip_usage=True)

    assert scan.text == TEXT + both + DONE
    assert scan.usage.completion_tokens == 34


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


def test_a_text_event_is_never_held_back() -> None:
    scan = Scan(ROLE, TEXT, TEXT, strip_usage=True)

    assert scan.out == [ROLE, TEXT, TEXT, b""]


def test_an_incomplete_event_with_a_choice_passes_at_once() -> None:
    cut = TEXT.index(b"Hi")

    scan = Scan(TEXT[:cut], strip_usage=True)

    assert scan.out[0] == TEXT[:cut]
    assert not scan.at_boundary


def test_an_event_that_may_be_usage_waits_and_leaves_a_boundary() -> None:
    scan = Scan(TEXT, USAGE[:30], strip_usage=True)

    assert scan.out[:2] == [TEXT, b""]
    assert scan.at_boundary
    assert scan.text == TEXT + USAGE[:30]


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


@pytest.mark.parametrize("figure", [-1, 10**9 + 1, "12", 1.5, True, None, [], 10**40])
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
    assert scan.text == TEXT + error


def test_an_event_over_the_bound_passes_unread_and_memory_stays_small() -> None:
    scan = Scan()
    piece = b"x" * 4096
    scan.scanner.feed(b'data: {"usage":{"prompt_tokens":1,"completion_tokens":1},"a":"')
    for _ in range(1000):
        assert scan.scanner.feed(piece) == piece
        assert len(scan.scanner._open) <= EVENT_BYTES + len(piece)

    assert scan.scanner.feed(b'"}\n\n' + TEXT) == b'"}\n\n' + TEXT
    assert scan.usage.estimated
    assert scan.first_tokens == 1


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff" * 50, b"data: {\n\n", b"\n\n\n\n", b'data: {"usage":{\xff}\n\n', b"\r\r"]
)
def test_garbage_passes_and_harms_nobody(garbage: bytes) -> None:
    scan = Scan(TEXT, garbage, TEXT, strip_usage=True)

    assert scan.text == TEXT + garbage + TEXT
    assert scan.usage.estimated


EVENTS = st.sampled_from(
    [
        ROLE, TEXT, FINISH, USAGE, DONE,
        TEXT.replace(b"\n\n", b"\r\n\r\n"),
        USAGE.replace(b"\n\n", b"\r\n\r\n"),
        DONE.replace(b"\n\n", b"\r\n\r\n"),
        b"data: {\"choices\":\ndata: [],\ndata: \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        event(delta(content="größe 🎈 [DONE] \"usage\":{")),
        event({**delta(content="a"), "usage": None}),
        event({**delta(content="a"), "usage": FIGURES}),
        event({"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": 3}}),
        event({"choices": [], "pad": "x" * HOLD_BYTES, "usage": FIGURES}),
        event({"choices": [], "pad": "x" * EVENT_BYTES, "usage": FIGURES}),
        event(delta(content="b")),
        event(delta(content="y" * EVENT_BYTES)),
        event({"error": {"message": "no"}}),
        event({"message": {"usage": {"input_tokens": 7}}}, name="message_start"),
        event({"usage": {"output_tokens": 7}}, name="message_delta", end="\r\n\r\n"),
        event({"type": "message_stop"}, name="message_stop"),
        b": comment\n\n", b": data: {\"content\":\"x\"}\n", b"\n", b"\r\n", b"\n\n\n", b"id: 1\nretry: 5\n",
        b"data: \xff\x00{\n\n", b"data: cut", b"event: x",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data(), events=st.lists(EVENTS, max_size=8), strip_usage=st.booleans())
def test_any_cut_gives_the_same_bytes_and_facts(
    data: st.DataObject, events: list[bytes], *, strip_usage: bool
) -> None:
    raw = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert Scan(*pieces, strip_usage=strip_usage).facts == Scan(raw, strip_usage=strip_usage).facts


@settings(max_examples=30, deadline=None)
@given(events=st.lists(EVENTS, max_size=4), strip_usage=st.booleans())
def test_byte_by_byte_gives_the_same_bytes_and_facts(events: list[bytes], *, strip_usage: bool) -> None:
    raw = b"".join(events)
    pieces = [raw[at : at + 1] for at in range(len(raw))]

    assert Scan(*pieces, strip_usage=strip_usage).facts == Scan(raw, strip_usage=strip_usage).facts


def test_blank_lines_around_the_usage_event_belong_to_neither_neighbour() -> None:
    raw = ROLE + b"\n" + USAGE + b"\r\n\n" + DONE

    for cut in range(len(raw)):
        assert Scan(raw[:cut], raw[cut:], strip_usage=True).text == ROLE + b"\n" + b"\r\n\n" + DONE


@settings(max_examples=100, deadline=None)
@given(pieces=st.lists(st.binary(max_size=40) | EVENTS, max_size=10))
def test_nothing_is_changed_when_usage_is_the_clients_own(pieces: list[bytes]) -> None:
    scan = Scan(*pieces)

    assert scan.out[:-1] == pieces
    assert scan.out[-1] == b""
