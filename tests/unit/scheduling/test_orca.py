"""The load in a response header: in the forms that vLLM and Triton send, and in none else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.core.limits import EngineLoad
from scheduling.engines import orca

AT_S = 1000.0


def heard(**figures) -> EngineLoad:
    return EngineLoad("gpu-0", AT_S, **figures)


@pytest.mark.parametrize(
    ("header", "load"),
    [
        (
            "TEXT named_metrics.kv_cache_usage_perc=0.42, named_metrics.num_requests_waiting=5.0",
            heard(waiting=5, kv_usage=0.42),
        ),
        (
            "TEXT named_metrics.num_requests_waiting=0,named_metrics.num_requests_running=3",
            heard(waiting=0, running=3),
        ),
        (
            'JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 3.0}}',
            heard(waiting=3, kv_usage=0.4),
        ),
        (
            'JSON {"cpu": 0.1, "named_metrics": {"kv_cache_utilization": 1, "max_token_capacity": 9088}}',
            heard(kv_usage=1.0, kv_tokens=9088),
        ),
        ("TEXT named_metrics.kv_cache_utilization=0.4", heard(kv_usage=0.4)),
        (b"TEXT named_metrics.num_requests_waiting=2", heard(waiting=2)),
        (
            "TEXT named_metrics.num_requests_waiting=2, junk, named_metrics.kv_cache_usage_perc=x",
            heard(waiting=2),
        ),
        (
            "TEXT named_metrics.num_requests_waiting=2, named_metrics.kv_cache_usage_perc=1.5",
            heard(waiting=2),
        ),
    ],
)
def test_a_report_is_a_reading(header: str | bytes, load: EngineLoad) -> None:
    assert orca.read("gpu-0", header, AT_S) == load


@pytest.mark.parametrize(
    "header",
    [
        "",
        "TEXT",
        "TEXT ",
        "TEXT num_requests_waiting=2",
        "text named_metrics.num_requests_waiting=2",
        "named_metrics.num_requests_waiting=2",
        "TEXT named_metrics.num_requests_waiting",
        "TEXT named_metrics.num_requests_waiting=NaN",
        "TEXT named_metrics.num_requests_waiting=-1",
        "TEXT named_metrics.num_requests_waiting=1e300",
        "TEXT named_metrics.num_requests_waiting_by_reason=4",
        "TEXT named_metrics.max_token_capacity=0",
        "JSON",
        "JSON {",
        "JSON []",
        'JSON {"named_metrics": [1]}',
        'JSON {"named_metrics": {"num_requests_waiting": "2"}}',
        'JSON {"named_metrics": {"num_requests_waiting": true}}',
        'JSON {"named_metrics": {"num_requests_waiting": Infinity}}',
        "JSON " + "[" * 4000,
        "BIN CQAAAAAAAPA/",
        "TEXT named_metrics.num_requests_waiting=2" + " " * orca.MOST_CHARACTERS,
        "TEXT " + "named_metrics.a=1," * orca.MOST_FIGURES + "named_metrics.num_requests_waiting=2",
    ],
)
def test_what_is_no_report_says_nothing(header: str) -> None:
    assert orca.read("gpu-0", header, AT_S) is None


@given(
    st.one_of(
        st.text(),
        st.binary(),
        st.text().map(lambda text: f"TEXT {text}"),
        st.text().map(lambda text: f"JSON {text}"),
    )
)
def test_no_header_breaks_the_answer_that_carries_it(header: str | bytes) -> None:
    load = orca.read("gpu-0", header, AT_S)

    assert load is None or load.backend == "gpu-0"
