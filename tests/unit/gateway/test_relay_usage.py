"""Usage is found wherever a JSON answer has it, and believed only when it makes sense."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.reported import OBJECT_BYTES, JsonScanner
from gateway.verdict import MAX_RETRY_AFTER_S, retry_after_s
from scheduling.core.usage import Usage

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded"
FIGURES = {"prompt_tokens": 12, "completion_tokens": 34, "prompt_tokens_details": {"cached_tokens": 8}}
KNOWN = Usage(12, 8, 34, estimated=False)


def read(*pieces: bytes, measures_tokens: bool = True) -> Usage:
    usage = Usage(prompt_tokens=5)
    scanner = JsonScanner(usage, measures_tokens=measures_tokens)
    for piece in pieces:
        assert scanner.feed(piece) == piece
    assert scanner.finish() == b""
    return usage


@pytest.mark.parametrize("recording", ["vllm_0.32.0_chat.json", "llamacpp_0.3.36_chat.json"])
def test_recorded_engines_are_read(recording: str) -> None:
    usage = read((RECORDED / recording).read_bytes())

    assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (12, 8, False)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [], "usage": FIGURES},
        {"usage": FIGURES, "choices": ["x" * 50_000]},
        {"choices": ["x" * 50_000], "usage": FIGURES, "prompt_logprobs": ["x" * 50_000]},
        {"choices": [{"text": '{"usage":{"prompt_tokens":1,"completion_tokens":1}}'}], "usage": FIGURES},
    ],
)
def test_usage_is_found_wherever_it_stands(answer: object, indent: int | None) -> None:
    raw = json.dumps(answer, indent=indent).encode()

    assert read(raw) == KNOWN
    assert read(*[raw[at : at + 1000] for at in range(0, len(raw), 1000)]) == KNOWN


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_usage_is_found_however_the_answer_is_cut(cuts: list[int]) -> None:
    raw = json.dumps({"a": {}, "usage": FIGURES, "b": {}}).encode()
    cuts = sorted(min(cut, len(raw)) for cut in cuts)

    assert read(*[raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]) == KNOWN


def test_an_answer_without_usage_is_estimated_by_its_length() -> None:
    assert read(b"x" * 400) == Usage(5, 0, 100, estimated=True)


def test_embeddings_are_charged_for_their_prompt_alone() -> None:
    raw = b'{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}'

    assert read(raw, measures_tokens=False) == Usage(7, 0, 0, estimated=False)
    assert read(b'{"data":[]}', measures_tokens=False) == Usage(5, 0, 0, estimated=True)


@pytest.mark.parametrize("figure", [-1, 10**8 + 1, 10**9, "12", 1.5, True, None, {}, 10**40])
@pytest.mark.parametrize("key", ["prompt_tokens", "completion_tokens"])
def test_an_absurd_figure_is_not_believed(key: str, figure: object) -> None:
    usage = read(json.dumps({"usage": {**FIGURES, key: figure}}).encode())

    assert usage.estimated
    assert usage.completion_tokens < 100


@pytest.mark.parametrize(
    "raw", [b'{"usage":{', b'{"usage":{\xff}}', b'"usage":{}' * 5000, b'"usage":{{{' * 5000, b"\0"]
)
def test_broken_json_leaves_the_estimate(raw: bytes) -> None:
    assert read(raw).estimated


def test_memory_stays_small_however_long_the_answer_is() -> None:
    scanner = JsonScanner(Usage(), measures_tokens=True)
    for _ in range(100):
        scanner.feed(b'"usage":{' + b"x" * 10_000)

    assert len(scanner._carry) == OBJECT_BYTES
    assert not scanner._found


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        (b"0", 0.0),
        (b" 30 ", 30.0),
        (b"99999999999", MAX_RETRY_AFTER_S),
        (b"soon", None),
        (b"-1", None),
        (b"Mon, 01 Jan 2029 00:00:00 +99999999999999", None),
        (b"", None),
        (b"Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        (b"Mon, 01 Jan 2024 00:00:00 +9999999999999999999", None),
    ],
)
def test_retry_after_is_read_as_far_as_it_makes_sense(said: bytes, wait_s: float | None) -> None:
    assert retry_after_s({b"retry-after": said}) == wait_s


def test_retry_after_may_be_a_date() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True).encode()
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True).encode()

    assert 50 < (retry_after_s({b"retry-after": at}) or 0) <= 60
    assert retry_after_s({b"retry-after": past}) == 0.0
