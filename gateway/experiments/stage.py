"""What an experiment needs in the running product: made by the services, removed however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from gateway.experiments.engines import Engine, cast
from gateway.services import issue_token
from scheduling import selectors, services
from scheduling.core.policy import DEFAULT_WEIGHT, IN_FLIGHT, ClassRule
from scheduling.simulation.experiments.trial import Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario

BY = "experiment"  # in the audit
NAME = "experiment"  # of the pool and its model
PREFIX = "experiment-"  # of tenants, classes and backends, and of the models that one engine alone serves
LEAST_POLL_MS = 100  # readings of one engine come no faster than this
NO_CAP = 100_000  # requests: far more than a trial sends
OURS = Q(name=NAME) | Q(name__startswith=PREFIX)
LIFE = timedelta(minutes=30)  # of the API tokens, should nobody remove them
LOCK = 0x6578_7065  # the advisory lock of one experiment at a time: "expe"


class Busy(Exception):
    """Another experiment runs on this installation. Try again when it has ended."""


class Stage:
    """The pool, models, backends, classes and tenants of some trials, and their API tokens in ``secrets``."""

    def __init__(self, engines: Sequence[Engine], trials: Sequence[Trial]) -> None:
        self.secrets: dict[str, str] = {}
        self._engines = engines
        self._backends: list[str] = []
        self._made = 0  # backends so far
        self._build(trials)

    def set(self, trial: Trial) -> None:
        """Put the trial's rules in force."""
        scenario = trial.scenario
        why = trial.label
        self._set_backends(trial)  # first: engines of the right kind let their pool have priorities
        services.set_policy(NAME, by=BY, why=why, **_policy_of(scenario))
        for tenant in self.secrets:
            slug = PREFIX + tenant
            services.set_weight(slug, trial.workload.weights.get(tenant, DEFAULT_WEIGHT), by=BY, why=why)
            services.set_quota(slug, IN_FLIGHT, scenario.in_flight_quotas.get(tenant), by=BY, why=why)
        for rule in scenario.classes.values():
            services.set_priority_class(
                PREFIX + rule.name, by=BY, reserved_seats=rule.reserved_seats, lent_seats=rule.lent_seats
            )

    def urls_of(self, trial: Trial) -> list[str]:
        """Where the trial's engines are."""
        return [self._engines[place].url for place in cast(trial, self._engines)]

    def model_of(self, trial: Trial, place: int) -> str:
        """What the request at this place of the arrivals asks for: one engine's own model, if it is dealt."""
        return own_model(cast(trial, self._engines)[trial.dealt[place]]) if trial.dealt else NAME

    def reweigh(self, tenant: str, weight: int) -> None:
        """Change a tenant's weight while its requests wait. For a thread of its own."""
        try:
            services.set_weight(PREFIX + tenant, weight, by=BY)
        finally:
            connection.close()

    def class_of(self, trial: Trial, priority_class: str) -> str:
        """What a request of this class asks for; nothing where the trial has no classes."""
        return PREFIX + priority_class if trial.scenario.classes else ""

    def _set_backends(self, trial: Trial) -> None:
        """The trial's engines under new names, so that nothing which was learned of them before holds."""
        while self._backends:
            services.delete_backend(self._backends.pop(), by=BY, why=trial.label)
        scenario = trial.scenario
        for place, spec in zip(cast(trial, self._engines), trial.workload.engines, strict=True):
            self._made += 1
            self._backends.append(f"{PREFIX}{self._made}")
            services.create_backend(
                self._backends[-1],
                NAME,
                self._engines[place].url,
                by=BY,
                why=trial.label,
                engine="vllm",
                models=[NAME, own_model(place)],
                max_in_flight=min(NO_CAP, spec.cap(scenario.admission)),
                poll_every_ms=max(LEAST_POLL_MS, scenario.read_every_ms),
            )

    def _build(self, trials: Sequence[Trial]) -> None:
        services.create_pool(NAME, by=BY)
        for model in (NAME, *map(own_model, range(len(self._engines)))):
            services.create_model(model, NAME, by=BY)
        rules = {rule.name: rule for trial in trials for rule in trial.scenario.classes.values()}
        for rule in sorted(rules.values(), key=_rank):  # behind all classes there are: nobody else is touched
            services.create_priority_class(PREFIX + rule.name, by=BY)
        tenants = {arrival.tenant for trial in trials for arrival in trial.workload.arrivals}
        ends = timezone.now() + LIFE
        for tenant in sorted(tenants):
            slug = PREFIX + tenant
            services.create_tenant(slug, f"Experiment: {tenant}", by=BY)
            self.secrets[tenant] = issue_token(tenant=slug, name="experiment", by=BY, expires_at=ends).secret


def own_model(place: int) -> str:
    """The model that the engine at this place alone serves."""
    return f"{PREFIX}only-{place}"


@contextmanager
def stage(engines: Sequence[Engine], trials: Sequence[Trial]) -> Iterator[Stage]:
    """Everything the trials need, inside the block. What a killed experiment left goes first.

    Raises Busy while another experiment runs, and ValidationError when
    somebody else's rows have our names.
    """
    with _alone():
        clear()
        try:
            yield Stage(engines, trials)
        finally:
            clear()


def clear() -> None:
    """Remove what experiments made and still is there. Rows of the same names made by others stay.

    Audit and usage records stay, as they do for everybody.
    """
    delete: tuple[tuple[str, QuerySet[Any], str, Callable[..., None]], ...] = (
        ("backend", selectors.backends().filter(OURS), "name", services.delete_backend),
        ("model", selectors.served_models().filter(OURS), "name", services.delete_model),
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


def _policy_of(scenario: Scenario) -> dict[str, Any]:
    """The scenario's rules as the pool's fields."""
    unlimited = scenario.admission == UNLIMITED
    return {
        "fairness": scenario.fairness,
        "admission": "static_cap" if unlimited else scenario.admission,
        "window_requests": scenario.window_requests,
        "tpot_target_ms": scenario.tpot_target_ms,
        "stale": scenario.stale,
        "counts_sent": scenario.counts_sent,
        "kv_fill_percent": scenario.kv_fill_percent,
        "prefix_slack_requests": scenario.prefix_slack_requests,
        "engine_priority": scenario.engine_priority,
    }


def _rank(rule: ClassRule) -> int:
    return rule.rank
