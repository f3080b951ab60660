"""The figures of the VTC artifact: its result files through its own table generator.

Source: Ying1123/VTC-artifact, fair_bench/**/all_results_*.jsonl with
fair_bench/plot/visualize.py and plot_revision.py; measured by its authors on
one A10G with Llama-2-7B under S-LoRA, one run each. They were not compared
with the tables printed in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

FIRST_P50, FIRST_P99 = "first token p50", "first token p99"
LIGHT, HEAVY = "14 lightest", "2 heaviest"

# figure -> how it is called in a table, and its unit
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "max_diff": "max diff",
        "avg_diff": "avg diff",
        "var_diff": "var of diff",
        "throughput": "tokens/s",
        "drift": "max accumulated difference",
        "refused": "refused requests",
    }
)


@dataclass(frozen=True, slots=True)
class Published:
    """What the artifact has of one workload under one scheduler, by the name of the figure."""

    workload: str
    queue: str
    figures: Mapping[str, float]


def _synthetic(workload: str, queue: str, *values: float | None) -> Published:
    names = ("max_diff", "avg_diff", "throughput", "drift")
    found = zip(names, values, strict=True)
    return Published(workload, queue, {name: value for name, value in found if value is not None})


def _arena(queue: str, *values: float) -> Published:
    names = ("max_diff", "avg_diff", "var_diff", "throughput", "refused")
    return Published("arena", queue, dict(zip(names, values, strict=False)))  # only RPM refuses


def _first(workload: str, queue: str, group: str, p50_s: float, p99_s: float) -> Published:
    return Published(workload, queue, {f"{FIRST_P50}, {group}": p50_s, f"{FIRST_P99}, {group}": p99_s})


PUBLISHED: tuple[Published, ...] = (
    _synthetic("overload", "VTC", 192.88, 103.77, 893, 9_050),
    _synthetic("overload", "VTC ±50 %", 33.98, 12.54, 904, 1_789),
    _synthetic("overload", "VTC oracle", 5.87, 0.51, 895, 377),
    _synthetic("overload-600s", "FCFS", 447.37, 439.00, 876, 237_738),
    _synthetic("overload-multi", "VTC", 322.16, 162.20, 875, 2_976),
    _synthetic("overload-multi", "VTC ±50 %", 99.43, 66.32, None, 1_277),
    _synthetic("overload-multi", "VTC oracle", 43.23, 36.34, None, 746),
    _synthetic("overload-multi", "FCFS", 247.88, 230.81, None, 34_823),
    _synthetic("on_off_overload", "VTC", 222.74, 109.53, 879, 7_541),
    _synthetic("on_off_overload", "FCFS", 1317.1, 433.5, 876, 363_415),
    _synthetic("poisson_short_long", "VTC", 132.69, 33.82, 1445, 5_235),
    _synthetic("poisson_short_long", "FCFS", 354.87, 209.31, 1475, 204_786),
    _synthetic("poisson_short_long_2", "VTC", 47.19, 13.67, 1671, 1_281),
    _synthetic("poisson_short_long_2", "FCFS", 1063, 693, 1923, 605_361),
    _synthetic("dist_shift", "VTC", 108.25, 33.45, 903, None),
    _synthetic("dist_shift", "LCF", 185.96, 114.31, 899, None),
    _first("on_off_less", "VTC", "calm", 2.68, 8.34),
    _first("on_off_less", "FCFS", "calm", 84.7, 173.6),
    _first("poisson_on_off", "VTC", "calm", 1.02, 5.78),
    _first("poisson_on_off", "FCFS", "calm", 95.4, 217.6),
    _first("increase", "VTC", "steady", 0.26, 0.71),
    _first("increase", "FCFS", "steady", 0.43, 48.0),
    _first("proportional", "VTC", "quarter", 4.65, 10.4),
    _first("proportional", "FCFS", "quarter", 96.1, 196.0),
    _arena("VTC", 368.40, 251.66, 6549, 779),
    _arena("VTC predict", 365.47, 240.33, 5322, 773),
    _arena("VTC oracle", 329.46, 227.51, 4476, 781),
    _arena("FCFS", 759.97, 433.53, 32112, 777),
    _arena("LCF", 750.49, 323.82, 29089, 778),
    _arena("RPM 5", 143.86, 83.58, 1020, 340, 919),
    _arena("RPM 10", 217.65, 128.24, 2767, 532, 600),
    _arena("RPM 15", 343.07, 161.06, 5189, 626, 447),
    _arena("RPM 20", 446.76, 195.71, 7450, 694, 342),
    _arena("RPM 30", 693.66, 309.45, 24221, 747, 176),
    _first("arena", "FCFS", LIGHT, 36.5, 137.1),
    _first("arena", "VTC", LIGHT, 0.95, 13.2),
    _first("arena", "LCF", LIGHT, 0.44, 8.2),
    _first("arena", "VTC oracle", LIGHT, 2.1, 16.5),
    _first("arena", "FCFS", HEAVY, 45, 137),
    _first("arena", "VTC", HEAVY, 109, 218),
)


def published(workload: str, queue: str, figure: str) -> float:
    """One figure. Raises KeyError when the artifact does not have it."""
    for one in PUBLISHED:
        if (one.workload, one.queue) == (workload, queue) and figure in one.figures:
            return one.figures[figure]
    raise KeyError(f"{workload}, {queue}: {figure}")
