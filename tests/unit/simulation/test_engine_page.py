"""Our metrics page beside pages that a real vLLM wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scheduling.simulation.engine.metrics_page import Lag, MetricsPage
from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.profiles import PROFILES
from scheduling.simulation.engine.request import EngineConfig, EngineRequest
from scheduling.simulation.engine.stats import Histogram, one_two_five

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded"
PAGES = [page for page in sorted(RECORDED.glob("vllm_*.txt")) if "# TYPE vllm:" in page.read_text()]


def page_of(model):
    return MetricsPage(model, "tiny", Lag, started_at_s=1000.0).render().decode()


def series(text):
    """Sample name -> (type, set of label name sets), for what the engine itself tells."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("vllm:"):
                _, labels = found.setdefault(sample.name, (family.type, set()))
                labels.add(frozenset(sample.labels))
    return found


def sample(text, name, **labels):
    values = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels.items() >= labels.items()
    ]
    assert len(values) == 1
    return values[0]


def a_model(**changes):
    config = EngineConfig(max_model_len=2048, max_num_seqs=1)
    return EngineModel(replace(config, **changes), PROFILES["a100-8b"])


@pytest.mark.skipif(not PAGES, reason="no page of a real vLLM stands in tests/fakes/recorded")
@pytest.mark.parametrize("recorded", PAGES, ids=lambda page: page.stem)
def test_every_series_of_ours_is_one_of_vllm_with_the_same_type_and_labels(recorded):
    real = series(recorded.read_text())
    ours = series(page_of(a_model()))

    assert len(ours) > 50
    assert {name: ours[name] for name in ours if ours[name] != real.get(name)} == {}


@pytest.mark.skipif(not PAGES, reason="no page of a real vLLM stands in tests/fakes/recorded")
@pytest.mark.parametrize("recorded", PAGES, ids=lambda page: page.stem)
def test_our_histograms_have_the_buckets_of_vllm(recorded):
    def buckets(text):
        return {
            (sample.name, sample.labels["le"])
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("vllm:") and "le" in sample.labels
        }

    assert buckets(page_of(a_model())) <= buckets(recorded.read_text())


def test_the_page_tells_the_gauges_of_this_moment():
    model = a_model()
    for name in "abc":
        model.submit(EngineRequest(name, 100, 5, 5), 0)
    model.advance(0)

    text = page_of(model)

    assert sample(text, "vllm:num_requests_running") == 1
    assert sample(text, "vllm:num_requests_waiting") == 2
    assert sample(text, "vllm:num_requests_waiting_by_reason", reason="capacity") == 2
    assert sample(text, "vllm:kv_cache_usage_perc") == pytest.approx(7 / model.config.kv_blocks)
    assert sample(text, "process_start_time_seconds") == 1000
    assert sample(text, "vllm:cache_config_info", num_gpu_blocks="26687", block_size="16") == 1


def test_the_page_counts_tokens_and_ends():
    model = a_model(max_num_seqs=2)
    model.submit(EngineRequest("a", 40, 5, 5), 0)
    model.submit(EngineRequest("b", 40, 2, 9), 0)
    model.advance(0)
    while model.due_ms is not None:
        model.advance(model.due_ms)

    text = page_of(model)

    assert sample(text, "vllm:prompt_tokens_total") == 80
    assert sample(text, "vllm:generation_tokens_total") == 7
    assert sample(text, "vllm:request_success_total", finished_reason="length") == 1
    assert sample(text, "vllm:request_success_total", finished_reason="stop") == 1
    assert sample(text, "vllm:time_to_first_token_seconds_count") == 2
    assert sample(text, "vllm:inter_token_latency_seconds_count") == 5
    assert sample(text, "vllm:time_to_first_token_seconds_bucket", le="+Inf") == 2


def test_a_value_on_a_bound_belongs_to_that_bucket():
    histogram = Histogram((1, 2, 5))
    for value in (0.5, 1, 1.5, 5, 6):
        histogram.observe(value)

    assert histogram.counts == [2, 1, 1, 1]
    assert (histogram.count, histogram.total) == (5, 14)


def test_token_buckets_go_one_two_five_up_to_the_largest():
    assert one_two_five(100) == (1, 2, 5, 10, 20, 50, 100)
    assert one_two_five(30) == (1, 2, 5, 10, 20)
