"""Numbers as people read them, charts as paths, and colours that can be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dashboard import charts, words
from scheduling.plots import MOST_POINTS

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CSS = (Path(__file__).parents[3] / "dashboard/static/dashboard/console.css").read_text()
READABLE = 4.5  # WCAG 2.2, 1.4.3, for text of normal size
VISIBLE = 3.0  # WCAG 2.2, 1.4.11, for what marks a control or a bar


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "—"),
        (0, "0"),
        (940, "940"),
        (999.6, "1 k"),
        (12_345, "12.3 k"),
        (4_550_000, "4.55 M"),
        (0.5, "0.5"),
    ],
)
def test_a_count_has_at_most_three_digits(value, written):
    assert words.count(value).replace(words.NBSP, " ") == written


@pytest.mark.parametrize(
    ("ms", "written"),
    [
        (None, "—"),
        (0, "0 ms"),
        (999, "999 ms"),
        (3_200, "3.2 s"),
        (59_960, "1 m 00 s"),
        (125_000, "2 m 05 s"),
        (3_840_000, "1 h 04 m"),
    ],
)
def test_a_wait_is_written_in_its_own_size(ms, written):
    assert words.milliseconds(ms).replace(words.NBSP, " ") == written


def test_times_are_told_from_now():
    assert words.ago(NOW - timedelta(seconds=2), NOW) == "just now"
    assert words.ago(NOW - timedelta(minutes=5), NOW).replace(words.NBSP, " ") == "5 m ago"
    assert words.until(NOW + timedelta(days=90), NOW).replace(words.NBSP, " ") == "in 90 d"
    assert words.until(NOW - timedelta(hours=3), NOW).replace(words.NBSP, " ") == "3 h ago"
    assert (words.ago(None, NOW), words.until(None, NOW)) == ("never", "never")


@dataclass
class Reading:
    at: datetime
    running: int | None = 4
    waiting: int | None = 1
    window: int = 3
    cap: int = 32
    reason: str = "window holds"


def readings(*seconds: float, **values) -> list[Reading]:
    return [Reading(NOW + timedelta(seconds=each), **values) for each in seconds]


def test_a_silence_is_a_gap_in_the_chart_and_never_a_line():
    chart = charts.limits(readings(0, 5, 10, 15, 120, 125, 130))

    assert chart.cap.count("M") == 2


def test_an_unknown_value_is_a_gap_and_no_zero():
    known, unknown = readings(0, 5, 20, 25), readings(10, 15, running=None)
    chart = charts.limits(sorted([*known, *unknown], key=lambda reading: reading.at))

    assert chart.running.count("M") == 2
    assert chart.cap.count("M") == 1


def test_the_chart_of_a_long_time_has_no_more_points_than_can_be_seen():
    chart = charts.limits(readings(*range(5_000)))

    assert chart.cap.count("H") <= MOST_POINTS
    assert charts.limits(readings(0)) is None


def test_the_table_beside_the_chart_has_only_what_changed():
    history = [*readings(0, 5), *readings(10, 15, window=1, reason="3 waiting are not ours"), *readings(20)]

    assert [(move.window, move.reason) for move in charts.moves(history)] == [
        (3, "window holds"),
        (1, "3 waiting are not ours"),
        (3, "window holds"),
    ]


def colours(theme: int) -> dict[str, str]:
    return {
        name: pair[theme] for name, *pair in re.findall(r"--([a-z-]+): light-dark\((#\w+), (#\w+)\)", CSS)
    }


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read_on_its_ground(theme):
    colour = colours(theme)
    grounds = {
        "text": ("bg", "surface", "raised", "ok-soft", "warn-soft", "bad-soft", "quiet-soft", "accent-soft"),
        "muted": ("bg", "surface", "raised", "quiet-soft"),
        "accent": ("bg", "surface", "accent-soft"),
        "ok": ("surface", "ok-soft"),
        "warn": ("surface", "bg", "warn-soft"),
        "bad": ("surface", "bg", "bad-soft"),
        "on-accent": ("accent",),
        "bg": ("text",),
    }
    weak = [
        (ink, ground, round(contrast(colour[ink], colour[ground]), 2))
        for ink, under in grounds.items()
        for ground in under
        if contrast(colour[ink], colour[ground]) < READABLE
    ]
    assert weak == []
    for mark in ("fill", "strong-line"):
        assert contrast(colour[mark], colour["surface"]) >= VISIBLE, mark
