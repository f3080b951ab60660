"""What people and programs are shown of a run: text, JSON, and a page that needs nothing else."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from django.core.management import CommandError, call_command

from scheduling.core.laws import LAWS
from scheduling.core.policy import ClassRule
from scheduling.plots import powers_of_ten, round_steps, round_up
from scheduling.simulation.metrics import measure
from scheduling.simulation.page import as_page, plots
from scheduling.simulation.plots import Axes, Notes, bars, cdf, lines, number
from scheduling.simulation.report import as_json, as_text
from scheduling.simulation.scenario import Scenario
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads import WORKLOADS, Overrides, make
from scheduling.simulation.workloads.generate import in_order

SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Checks that every tag is closed in its order, and keeps what a browser would fetch or run."""

    EMPTY = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.fetched, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def changed_weights():
    run = play(Scenario(make("weight-change", 1, Overrides(seconds=40))))
    return run, measure(run)


def test_the_page_is_whole_and_fetches_and_runs_nothing(changed_weights):
    text = as_page(*changed_weights, seed=1)
    page = Page(text)

    assert (page.open, page.wrong, page.fetched) == ([], [], [])
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert page.tags.count("svg") == 4
    places = set(re.findall(r"https?://[^\s\"']+", text))
    assert places == {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches
    assert "url(" not in text
    assert "@import" not in text


def test_every_plot_says_what_it_shows_in_words_and_marks_what_happened(changed_weights):
    svgs = [ET.fromstring(plot) for plot in plots(changed_weights[0])]

    for svg in svgs:
        words = [text.text for text in svg.iter(f"{SVG}text")]
        assert svg.get("role") == "img"
        assert svg.get("aria-label") == words[0]
        assert any(unit in " ".join(words) for unit in ("seconds", "requests"))
    assert "gold: weight 3" in [text.text for text in svgs[0].iter(f"{SVG}text")]


def test_the_names_of_tenants_cannot_break_the_page():
    workload = make("azure", 1, Overrides(seconds=10))
    named = tuple(replace(arrival, tenant="<b>&\"'") for arrival in workload.arrivals)
    run = play(Scenario(replace(workload, arrivals=named)))

    page = Page(as_page(run, measure(run), seed=1))

    assert (page.open, page.wrong) == ([], [])
    assert "b" not in page.tags


def test_text_and_page_say_the_same_facts(changed_weights):
    run, result = changed_weights
    text, page = as_text(result, 1), as_page(run, result, 1)

    for said in ("Jain index", "of the new weights", "dispatches over a limit"):
        assert said in text
        assert said in page
    assert max(map(len, text.splitlines())) < 120


def test_classes_have_a_table_of_their_own():
    workload = make("azure", 1, Overrides(seconds=10))
    batch = [replace(arrival, priority_class="batch") for arrival in workload.arrivals[::2]]
    workload = replace(workload, arrivals=in_order([*batch, *workload.arrivals[1::2]]))
    classes = {"standard": ClassRule("standard", 0), "batch": ClassRule("batch", 1)}
    run = play(Scenario(workload, classes=classes))

    assert re.search(r"^batch +\d", as_text(measure(run), 1), re.MULTILINE)
    assert "<h2>Classes</h2>" in as_page(run, measure(run), 1)


def test_many_tenants_are_cut_short_and_said_to_be():
    run = play(Scenario(make("zipf", 1, Overrides(seconds=10))))
    result = measure(run)
    hidden = len(result.tenants) - 20

    assert f"and {hidden} more tenants" in as_text(result, 1)
    assert f"The {hidden} tenants with fewer requests are left out" in as_page(run, result, 1)


def test_json_has_every_figure_and_the_service_over_time(changed_weights):
    run, result = changed_weights
    told = json.loads(as_json(run, result, 7))

    assert told["seed"] == 7
    assert told["fair"]["jain"] == pytest.approx(result.jain, abs=1e-4)
    assert [tenant["tenant"] for tenant in told["tenants"]] == ["bronze", "gold"]
    assert [(each["window_s"], each["step_s"]) for each in told["service"]] == [(2, 1), (60, 10)]
    assert set(told["service"][0]["tenants"]) == {"bronze", "gold"}


def test_lines_leave_gaps_where_nothing_is_known():
    svg = ET.fromstring(
        lines("Gaps", Axes("s", "n"), {"a": [(0, 1), (1, None), (2, 2), (3, 1)]}, Notes(shaded=(1, 9)))
    )
    (path,) = [one for one in svg.iter(f"{SVG}path") if one.find(f"{SVG}title") is not None]

    assert path.get("d").count("M") == 2


def test_a_distribution_goes_to_all_requests_and_by_logarithm_when_values_differ_much():
    near, far = cdf("Near", "seconds", {"a": [1, 2, 3]}), cdf("Far", "seconds", {"a": [0.01, 2, 300]})

    assert "by logarithm" not in near
    assert "by logarithm" in far
    for tick in ("0.1", "1", "10", "100"):
        assert f">{tick}</text>" in far


def test_bars_have_a_figure_each_and_a_legend_when_there_are_several_series():
    svg = bars("Bars", "seconds", {"fifo": {"p50": 1, "p99": 150}, "fair": {"p50": 0.5, "p99": 0.5}})
    words = [text.text for text in ET.fromstring(svg).iter(f"{SVG}text")]

    assert words == ["Bars", "seconds", "fifo", "1", "150", "fair", "0.5", "0.5", "p50", "p99"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: lines("Empty", Axes("s", "n"), {"a": [(0, None)]}),
        lambda: cdf("Empty", "s", {"a": []}),
        lambda: bars("Empty", "s", {"a": {}}),
    ],
)
def test_nothing_cannot_be_drawn(draw):
    with pytest.raises(ValueError, match="Empty: there is nothing to draw"):
        draw()


def test_axes_have_round_numbers():
    assert [round_up(most) for most in (0, 0.3, 3, 12, 90, 1000)] == [1, 0.4, 4, 20, 100, 1000]
    assert round_steps(0, 4, 4) == [0, 1, 2, 3, 4]
    assert round_steps(3, 22, 4) == [5, 10, 15, 20]
    assert powers_of_ten(0.02, 150) == [0.1, 1, 10, 100]
    assert [number(value) for value in (0, 0.25, 12, 15_000, 150_000)] == [
        "0",
        "0.25",
        "12",
        "15,000",
        "150k",
    ]


def call(**options):
    out = io.StringIO()
    call_command("simulate", stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,completion_tokens\n" + "0,100,20\n" * 40)
    return path


def test_the_command_prints_text_or_json_and_writes_a_page(tmp_path, trace):
    page = tmp_path / "page.html"

    text = call(trace=trace, html=page)
    told = json.loads(call(trace=trace, json=True, seed=5))

    assert text.startswith("trace: 40 requests on 1 engine")
    assert (told["seed"], told["requests"], told["outcomes"]) == (5, 40, {"ok": 40})
    assert page.read_text().startswith("<!doctype html>")


def test_the_command_changes_a_workload_as_told():
    told = json.loads(call(workload="azure", seconds=10, requests_per_s=8.0, tenants=3, engines=2, json=True))

    assert (told["engines"], len(told["tenants"])) == (2, 3)
    assert told["requests"] == pytest.approx(80, rel=0.4)


def test_the_command_lists_every_workload_with_a_sentence():
    listed = dict(line.split(maxsplit=1) for line in call(list=True).splitlines())

    assert listed.keys() == WORKLOADS.keys()
    assert listed["flood"].startswith("A power user sends 40 requests")


def test_the_command_compares_a_tenant_with_itself_alone():
    assert "quiet waits" in call(workload="flood", seconds=10, alone="quiet")


def test_the_command_refuses_what_cannot_be_with_the_reason(tmp_path, trace):
    with pytest.raises(CommandError, match="a trace has its own times"):
        call(trace=trace, requests_per_s=3.0)
    with pytest.raises(CommandError, match="No such file"):
        call(trace=tmp_path / "absent.csv")
    with pytest.raises(CommandError, match="nobody has no request in flood"):
        call(workload="flood", seconds=10, alone="nobody")
    with pytest.raises(CommandError, match="goes with --tenants"):
        call(workload="flood", zipf=2.0)
    for wrong, said in (("--seconds=0", "whole number of at least 1"), ("--requests-per-s=no", "above 0")):
        with pytest.raises(CommandError, match=said):
            call_command("simulate", wrong)


def test_the_command_plays_every_law_and_rule_of_the_control_plane():
    rules = {"stale": "open", "tpot_target_ms": 60, "kv_fill": 90, "read_every": 500, "delay": 10}
    for law in LAWS:
        said = call(workload="flood", seconds=3, admission=law, **rules)
        assert f"admission {law}" in said
        assert "0 dispatches over a limit" in said
    cached = call(workload="documents", seconds=60, prefix_slack=2)
    ordered = call(workload="flood", seconds=3, engine_priority="alone")

    assert re.search(r"Prefix cache  \d+\.\d% of the prompt tokens", cached)
    assert re.search(r"Engine queue .* max \d\d;", ordered)  # the engine has all of them, in our order


def test_readings_can_be_asked_for_and_forbidden_but_not_both():
    herd = {"workload": "flood", "seconds": 3, "admission": "queue_target"}

    assert call(**herd, no_metrics=True) == call(**{**herd, "counts_sent": True}, no_metrics=True)
    assert call(**herd) != call(**herd, no_metrics=True)
    with pytest.raises(CommandError, match="does not go with"):
        call(metrics=True, no_metrics=True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--read-every=0", "less than a millisecond"),
        ("--delay=soon", "no number of seconds"),
        ("--delay=-1", "no number of seconds"),
        ("--kv-fill=101", "from 0 to 100"),
        ("--prefix-slack=-1", "no whole number"),
        ("--admission=best", "invalid choice"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_mend(wrong, said):
    with pytest.raises(CommandError, match=said):
        call_command("simulate", wrong)
