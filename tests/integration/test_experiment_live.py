"""`experiment --live` as a person runs it, on the product as a person starts it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator

import pytest

from benchmarks.product import Product, running_product

pytestmark = pytest.mark.product


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with running_product([], engines=0) as product:
        yield product


TABLES = {
    "pool": "name",
    "servedmodel": "name",
    "backend": "name",
    "tenant": "slug",
    "priorityclass": "name",
}


def configured(product: Product) -> list[tuple[str, str]]:
    """Everything that is configured, and the API tokens."""
    found = [(table, name) for table, key in TABLES.items() for name in named(product, table, key)]
    return [*found, *(("apitoken", str(n)) for (n,) in product.query("SELECT id FROM gateway_apitoken"))]


def named(product: Product, table: str, key: str) -> list[str]:
    return sorted(name for (name,) in product.query(f"SELECT {key} FROM scheduling_{table}"))


def engine_answers(product: Product) -> bool:
    """Whether the engine that the last experiment started still listens where it said."""
    told = (product.folder / "data" / "log" / "experiment-engine.log").read_text()
    host, port = told.partition("http://")[2].split()[0].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_the_power_users_harm_is_seen_live_and_nothing_is_left_behind(product: Product) -> None:
    before = configured(product)

    done = product.attempt("experiment", "power-user", "--live", "--seconds", "1", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {row["trial"]: row for row in report["rows"]}
    assert (report["live"], report["failed"], report["shown"]) == (True, 0, True)
    assert min(row["factor"] for trial, row in rows.items() if trial != "alone") > 5
    assert configured(product) == before
    assert (
        product.query("SELECT count(*) FROM gateway_usagerecord WHERE tenant = 'experiment-power'")[0][0] > 0
    )
    assert not engine_answers(product)


def test_requests_are_dealt_to_several_engines_and_pulled_by_them_live(product: Product) -> None:
    before = configured(product)

    done = product.attempt("experiment", "routing", "--live", "--seconds", "1", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["live"], report["failed"], len(report["rows"])) == (True, 0, 8)
    assert all(row["written"] > 0 for row in report["rows"])
    assert configured(product) == before
    assert not engine_answers(product)


def test_ctrl_c_takes_everything_back(product: Product) -> None:
    before = configured(product)
    running = product.begin("experiment", "power-user", "--live")
    told = running.stderr.readline()  # where to watch: everything is there
    during = product.query("SELECT count(*) FROM scheduling_pool WHERE name = 'experiment'")

    running.send_signal(signal.SIGINT)
    running.communicate(timeout=10)

    assert "/queues/experiment/" in told
    assert during == [(1,)]
    assert running.returncode == 130
    assert configured(product) == before
    assert not engine_answers(product)
