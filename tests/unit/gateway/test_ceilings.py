"""What a body may hold at most, against a count that looks at everything."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import ceilings
from gateway.ceilings import Ceilings
from gateway.errors import Invalid, Refused
from gateway.input_errors import TooComplex
from gateway.jobs import read_members
from gateway.settings import Settings

VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.sampled_from(["", "[[[[", '{"', "\\", '\\"[', ",,,"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


def levels(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(levels, value), default=0)
    return 0


def values(value: object) -> int:
    """Commas and opening brackets outside of texts."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(0, len(value) - 1) + sum(map(values, inner))
    return 0


def refuses(check, *args) -> bool:
    try:
        check(*args)
    except TooComplex:
        return True
    return False


@given(
    value=st.dictionaries(st.text(max_size=3), VALUES, max_size=4),
    most=st.integers(1, 6),
    short_bytes=st.sampled_from((0, ceilings.SHORT_BYTES)),
)
def test_levels_are_counted_as_they_are_whatever_stands_in_texts(value, most, short_bytes) -> None:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    bound = Ceilings.of(Settings(json_levels=most))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings, "SHORT_BYTES", short_bytes)
        refused = refuses(bound.check, body, read_members(body))

    assert refused == (levels(value) > most)


@given(
    value=st.dictionaries(st.text(max_size=3), VALUES, max_size=4),
    most=st.integers(1, 30),
    quotes=st.sampled_from((0, 1, 2, 10, 60)),
    escapes=st.integers(1, 3),
)
def test_values_are_counted_as_they_are_whatever_stands_in_texts(value, most, quotes, escapes) -> None:
    body = json.dumps(value).encode()
    bound = Ceilings.of(Settings(json_values=most))
    texts = body.replace(rb"\\", b"").replace(rb"\"", b"").count(b'"') / 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings, "UNCOUNTED_BYTES", 0)
        patch.setattr(ceilings, "SEARCHED_QUOTES", quotes)
        patch.setattr(ceilings, "SEARCHED_ESCAPES", escapes)
        refused = refuses(bound.count, body)

    assert refused == (values(value) > most or texts > most)


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("n", 2, False),
        ("n", 3, True),
        ("best_of", 3, True),
        ("top_logprobs", 5, True),
        ("logprobs", True, False),
        ("max_tokens", 100, False),
        ("max_tokens", 100.5, True),
        ("max_output_tokens", 101, True),
        ("max_tokens", None, False),
        ("max_tokens", [10**9], False),
        ("messages", [{}] * 4, False),
        ("messages", [{}] * 5, True),
    ],
)
def test_each_ceiling_is_a_knob_and_its_refusal_names_the_member(name, value, refused) -> None:
    knobs = Settings(most_choices=2, most_logprobs=4, most_completion_tokens=100, most_messages=4)
    body = json.dumps({name: value}).encode()

    if not refused:
        Ceilings.of(knobs).check(body, read_members(body))
        return
    with pytest.raises(Invalid) as error:
        Ceilings.of(knobs).check(body, read_members(body))
    assert error.value.param == name


def test_a_small_body_is_read_no_further_than_its_brackets() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'

    with pytest.MonkeyPatch.context() as patch:
        for decoder in ("_list", "_object", "_number"):
            patch.setattr(ceilings, decoder, _never)
        Ceilings.of(Settings()).count(body)
        Ceilings.of(Settings()).check(body, read_members(body))


def test_a_long_prompt_is_searched_and_not_counted_byte_by_byte() -> None:
    texts = [
        'a quote " and commas, [brackets], {braces} ' * 10,
        "a path C:\\",
        '\\" ' * 9,
        "word, " * 200_000,
    ]
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}
    ).encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings, "_nested", lambda text: len(text) if len(text) < 1000 else refused())
        Ceilings.of(Settings()).count(body)


def refused() -> int:
    raise Refused("this must not be counted")


def _never(_: bytes) -> msgspec.Raw:
    raise Refused("this must not be read")
