"""Our order in an engine's words: the sign, the range, and the bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine_order import with_order
from scheduling.engines.endpoint import Endpoint

BODY = b'{"model":"m","messages":[{"priority":-5}]}'


def sent(order, engine="vllm", low_first=None):
    parts = with_order((BODY,), order, Endpoint("gpu-0", "http://x", engine, low_first=low_first))
    return json.loads(b"".join(parts))


@pytest.mark.parametrize(
    ("engine", "low_first", "priority"),
    [
        pytest.param("vllm", None, 41, id="vLLM takes the lowest first"),
        pytest.param("sglang", None, -41, id="SGLang takes the highest first"),
        pytest.param("sglang", True, 41, id="SGLang told to take the lowest first"),
        pytest.param("sglang", False, -41, id="SGLang said to be as it is"),
        pytest.param("vllm", False, -41, id="a backend that says otherwise"),
    ],
)
def test_an_earlier_request_goes_first_by_the_engines_own_rule(engine, low_first, priority):
    assert sent(41, engine, low_first)["priority"] == priority


@pytest.mark.parametrize(
    "engine", ["tgi", "llamacpp", "triton", "trtllm", "nim", "lmdeploy", "ollama", "openai"]
)
def test_an_engine_without_priorities_gets_the_body_as_it_is(engine):
    for low_first in (None, True, False):
        assert with_order((BODY,), 41, Endpoint("b", "http://x", engine, low_first=low_first)) == (BODY,)


@given(order=st.integers(-(2**70), 2**70), engine=st.sampled_from(["vllm", "sglang"]))
def test_every_priority_fits_an_int64_and_the_rest_of_the_body_is_untouched(order, engine):
    body = sent(order, engine)
    assert -(2**63) <= body.pop("priority") < 2**63
    assert body == json.loads(BODY)


@given(orders=st.lists(st.integers(0, 2**62), min_size=2, max_size=2, unique=True))
def test_the_order_of_two_is_kept_whatever_the_engine(orders):
    first, second = sorted(orders)
    assert sent(first, "vllm")["priority"] < sent(second, "vllm")["priority"]
    assert sent(first, "sglang")["priority"] > sent(second, "sglang")["priority"]
