"""What an experiment needs in the running product: made by the services, removed however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from gateway.services import issue_token
from scheduling import selectors, services
from scheduling.core.policy import DEFAULT_WEIGHT, ClassRule
from scheduling.simulation.experiments.trial import Trial
from scheduling.simulation.scenario import UNLIMITED

BY = "experiment"  # in the audit
NAME = "experiment"  # of the pool, its model and its backend
PREFIX = "experiment-"  # of tenants and classes
NO_CAP = 100_000  # requests: far more than a trial sends
LIFE = timedelta(minutes=30)  # of the API tokens, should nobody remove them
LOCK = 0x6578_7065  # the advisory lock of one experiment at a time: "expe"


class Busy(Exception):
    """Another experiment runs on this installation. Try again when it has ended."""


class Stage:
    """The pool, model, backend, classes and tenants of some trials, and their API tokens in ``secrets``."""

    def __init__(self, engine_url: str, trials: Sequence[Trial]) -> None:
        self.secrets: dict[str, str] = {}
        self._seats = trials[0].workload.engines[0].max_num_seqs
        self._build(engine_url, trials)

    def set(self, trial: Trial) -> bool:
        """Put the trial's rules in force; whether anything had to be changed."""
        before = selectors.revision()
        scenario = trial.scenario
        why = trial.label
        unlimited = scenario.admission == UNLIMITED
        admission = "static_cap" if unlimited else scenario.admission
        services.set_policy(NAME, by=BY, why=why, fairness=scenario.fairness, admission=admission)
        services.change_backend(NAME, by=BY, why=why, max_in_flight=NO_CAP if unlimited else self._seats)
        for tenant in self.secrets:
            services.set_weight(
                PREFIX + tenant, trial.workload.weights.get(tenant, DEFAULT_WEIGHT), by=BY, why=why
            )
        for rule in scenario.classes.values():
            services.set_priority_class(
                PREFIX + rule.name, by=BY, reserved_seats=rule.reserved_seats, lent_seats=rule.lent_seats
            )
        return selectors.revision() != before

    def reweigh(self, tenant: str, weight: int) -> None:
        """Change a tenant's weight while its requests wait. For a thread of its own."""
        try:
            services.set_weight(PREFIX + tenant, weight, by=BY)
        finally:
            connection.close()

    def class_of(self, trial: Trial, priority_class: str) -> str:
        """What a request of this class asks for; nothing where the trial has no classes."""
        return PREFIX + priority_class if trial.scenario.classes else ""

    def _build(self, engine_url: str, trials: Sequence[Trial]) -> None:
        services.create_pool(NAME, by=BY)
        services.create_model(NAME, NAME, by=BY)
        services.create_backend(
            NAME, NAME, engine_url, by=BY, engine="vllm", models=[NAME], max_in_flight=self._seats
        )
        rules = {rule.name: rule for trial in trials for rule in trial.scenario.classes.values()}
        for rule in sorted(rules.values(), key=_rank):  # behind all classes there are: nobody else is touched
            services.create_priority_class(PREFIX + rule.name, by=BY)
        tenants = {arrival.tenant for trial in trials for arrival in trial.workload.arrivals}
        ends = timezone.now() + LIFE
        for tenant in sorted(tenants):
            slug = PREFIX + tenant
            services.create_tenant(slug, f"Experiment: {tenant}", by=BY)
            self.secrets[tenant] = issue_token(tenant=slug, name="experiment", by=BY, expires_at=ends).secret


@contextmanager
def stage(engine_url: str, trials: Sequence[Trial]) -> Iterator[Stage]:
    """Everything the trials need, inside the block. What a killed experiment left goes first.

    Raises Busy while another experiment runs, and ValidationError when
    somebody else's rows have our names.
    """
    with _alone():
        clear()
        try:
            yield Stage(engine_url, trials)
        finally:
            clear()


def clear() -> None:
    """Remove what experiments made and still is there. Rows of the same names made by others stay.

    Audit and usage records stay, as they do for everybody.
    """
    delete: tuple[tuple[str, QuerySet[Any], str, Callable[..., None]], ...] = (
        ("backend", selectors.backends().filter(name=NAME), "name", services.delete_backend),
        ("model", selectors.served_models().filter(name=NAME), "name", services.delete_model),
        ("pool", selectors.pools().filter(name=NAME), "name", services.delete_pool),
        ("tenant", selectors.tenants().filter(slug__startswith=PREFIX), "slug", services.delete_tenant),
        (
            "class",
            selectors.classes().filter(name__startswith=PREFIX),
            "name",
            services.delete_priority_class,
        ),
    )
    for noun, rows, field, remove in delete:
        for name in rows.values_list(field, flat=True):
            if _made_by_us(noun, name):
                remove(name, by=BY)


def _made_by_us(noun: str, name: str) -> bool:
    made = selectors.changes().filter(noun=noun, target=name, verb="create").first()
    return made is not None and made.by == BY


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the database's lock on experiments. It goes with our connection, however we end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            raise Busy(Busy.__doc__)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def _rank(rule: ClassRule) -> int:
    return rule.rank
