"""What a person, a program and a browser get of an experiment."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from django.core.management import CommandError, call_command

from config.management.commands import experiment as command
from scheduling.simulation.experiments import article, data, page, text
from scheduling.simulation.experiments.registry import EXPERIMENTS
from scheduling.simulation.experiments.text import bar_lengths
from tests.unit.simulation.experiments.short import SHORT, run

QUICK = replace(SHORT, seconds=10, seats=8)


@pytest.fixture(scope="module")
def reports():
    return [run(name, seconds=10, seats=8) for name in EXPERIMENTS]


@pytest.fixture
def quick(monkeypatch):
    """The command plays short trials."""
    monkeypatch.setattr(command, "SIMULATED", QUICK)


def call(*arguments: str) -> tuple[str, str]:
    out, told = io.StringIO(), io.StringIO()
    call_command("experiment", *arguments, stdout=out, stderr=told)
    return out.getvalue(), told.getvalue()


def test_the_text_has_question_table_plot_and_sentence(reports):
    for report in reports:
        shown = text.as_text(report)

        assert report.experiment.question in " ".join(shown.split())
        assert " ".join(report.finding.sentence.split()) in " ".join(shown.split())
        assert all(row.label in shown for row in report.table.rows)
        assert ("█" in shown) or ("|" in shown)
        assert max(map(len, shown.splitlines())) <= 130


def test_a_result_that_is_not_the_articles_is_marked_everywhere(reports):
    report = replace(reports[1], finding=replace(reports[1].finding, shown=False))

    assert "not what the article says" in text.as_text(report)
    assert json.loads(data.as_json(report))["shown"] is False
    assert "not what the article says" in page.as_html([report])
    assert re.search(r"\| no \| \[/", article.as_markdown([report]), re.MULTILINE)


def test_a_live_report_says_so_and_how_many_requests_failed(reports):
    live = replace(reports[1], live=True, failed=7)

    assert "Live: Beside a power user" in text.as_text(live)
    assert "7 requests were refused or broke, so these figures show nothing" in text.finding(live)
    assert json.loads(data.as_json(live))["failed"] == 7
    assert "--live" in article.as_markdown([live]).splitlines()[0]


def test_bars_on_a_log_scale_grow_by_the_same_for_each_tenfold():
    assert bar_lengths([1, 10, 100], log=True) == pytest.approx([1 / 3, 2 / 3, 1])
    assert bar_lengths([1, 4], log=False) == [0.25, 1.0]
    assert bar_lengths([0.0, 0.0], log=True) == [0.0, 0.0]


def test_the_page_is_one_file_that_asks_for_nothing_outside(reports):
    html = page.as_html(reports)

    assert not re.findall(r'(?:src|href)="(?!#)', html)
    assert "<script" not in html
    assert html.count("<svg") == len(EXPERIMENTS)
    for report in reports:
        assert f'href="#{report.experiment.name}"' in html
        assert f'id="{report.experiment.name}"' in html


def test_every_plot_is_well_formed(reports):
    for report in reports:
        drawn = ET.fromstring(page.plot(report))

        assert drawn.get("aria-label")


def test_the_articles_table_links_to_a_section_for_every_part(reports):
    document = article.as_markdown(reports)
    headings = re.findall(r"^## (.+)$", document, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert len(headings) == len(EXPERIMENTS)
    assert set(re.findall(r"\(#([\w.-]+)\)", document)) == anchors
    assert "manage.py experiment all --seed 1 --seeds 1 --seconds 10" in document.splitlines()[0]


def test_the_document_in_docs_has_every_experiment_of_the_registry():
    document = (Path(__file__).parents[4] / "docs" / "article.md").read_text(encoding="utf-8")

    assert document.startswith("<!-- Printed by `manage.py experiment all")
    for experiment in EXPERIMENTS.values():
        assert f"\n## Part {experiment.part}: {experiment.title}\n" in document
        assert f"| {experiment.part} | [{experiment.name}](#" in document


def test_all_runs_all_and_writes_page_and_document(quick, tmp_path):
    html, document = tmp_path / "all.html", tmp_path / "all.md"
    out, told = call("all", "--seeds", "2", "--json", "--html", str(html), "--write", str(document))

    found = [json.loads(line) for line in out.splitlines()]
    assert [each["experiment"] for each in found] == list(EXPERIMENTS)
    assert all(set(each["seeds"]) == {"1", "2"} for each in found)
    assert html.read_text().startswith("<!doctype html>")
    assert document.read_text().count("\n## Part") == len(EXPERIMENTS)
    assert "power-user, seed 2: alone" in told


def test_one_experiment_prints_text_and_needs_no_database(quick):
    out, _ = call("power-user")

    assert out.startswith("A power user blocks the others (article, part 2)")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["power-user", "--write", "x.md"], "--write goes with all"),
        (["power-user", "--time-scale", "3"], "--time-scale goes with --live"),
        (["power-user", "--seeds", "0"], "--seeds must be at least 1"),
        (["power-user", "--seconds", "0"], "--seconds must be at least 1"),
        (["power-user", "--live", "--time-scale", "0"], "--time-scale above 0"),
        (["power-user", "--html", "/nowhere/at/all.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_mend(quick, arguments, said):
    with pytest.raises(CommandError, match=said):
        call(*arguments)


def test_live_without_a_running_product_says_how_to_start_one(tmp_path, monkeypatch):
    monkeypatch.setattr(command.embedded, "data_dir", lambda: tmp_path)

    with pytest.raises(CommandError, match="make run"):
        call("power-user", "--live")
