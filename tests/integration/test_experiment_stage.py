"""What an experiment makes in the product, and that nothing of it stays."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from gateway.experiments import stage
from gateway.experiments.engines import Engine, cast, needed
from gateway.models import ApiToken
from scheduling import selectors, services
from scheduling.models import Change, PriorityClass, Tenant
from scheduling.simulation.experiments.registry import EXPERIMENTS
from scheduling.simulation.experiments.trial import LIVE

pytestmark = pytest.mark.django_db


@pytest.fixture
def trials():
    return EXPERIMENTS["classes"].trials(LIVE, 1)


def engines(trials):
    """Addresses at which nobody answers, one for each engine that the trials need."""
    return [Engine(spec, f"http://127.0.0.1:{n + 9}") for n, spec in enumerate(needed(trials))]


def rules():
    """All rows that the data plane obeys, and the API tokens."""
    policy = selectors.policy()
    return (policy.tenants, policy.classes, policy.pools, policy.backends, policy.models), set(
        ApiToken.objects.values_list("tenant__slug", flat=True)
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_staged_and_leaves_nothing(name) -> None:
    before = rules()
    played = EXPERIMENTS[name].played(LIVE, 1, live=True)

    with stage.stage(engines(played), played) as made:
        for trial in played:
            made.set(trial)
        during = rules()

    assert during != before
    assert rules() == before
    assert set(Change.objects.values_list("by", flat=True)) == {"experiment"}


def test_a_trial_puts_its_rules_in_force(trials) -> None:
    with stage.stage(engines(trials), trials) as made:
        made.set(trials[-1])
        policy = selectors.policy()

    pool = policy.pools[stage.NAME]
    (backend,) = policy.backends.values()
    assert (pool.fairness, pool.admission, backend.max_in_flight) == (
        "token_fair",
        "first_token_window",
        LIVE.seats,
    )
    assert policy.classes["experiment-interactive"].reserved_seats == 1
    assert made.class_of(trials[-1], "interactive") == "experiment-interactive"
    assert made.class_of(trials[0], "interactive") == ""


def test_classes_of_an_experiment_stand_behind_all_others_so_that_nobody_else_is_held_back(trials) -> None:
    with stage.stage(engines(trials), trials):
        ranks = dict(PriorityClass.objects.values_list("name", "rank"))

    mine = [ranks.pop("experiment-interactive"), ranks.pop("experiment-batch")]
    assert max(ranks.values()) < mine[0] < mine[1]


def test_an_experiment_that_breaks_leaves_nothing(trials) -> None:
    before = rules()

    with pytest.raises(KeyboardInterrupt), stage.stage(engines(trials), trials):
        raise KeyboardInterrupt

    assert rules() == before


def test_what_a_killed_experiment_left_goes_with_the_next_one(trials) -> None:
    before = rules()
    stage.Stage(engines(trials), trials)  # made, and nobody there to remove it

    with stage.stage(engines(trials), trials):
        names = {arrival.tenant for trial in trials for arrival in trial.workload.arrivals}
        assert set(Tenant.objects.values_list("slug", flat=True)) >= {stage.PREFIX + name for name in names}

    assert rules() == before


def test_rows_that_others_made_are_not_touched(trials) -> None:
    services.create_pool("experiment", by="admin:ada")
    services.create_tenant("experiment-rocket", by="admin:ada")

    with pytest.raises(ValidationError, match="already exists"), stage.stage(engines(trials), trials):
        pass

    assert selectors.pools().filter(name="experiment").exists()
    assert selectors.tenants().filter(slug="experiment-rocket").exists()


def test_each_trial_begins_with_backends_of_which_nothing_was_learned_before() -> None:
    played = EXPERIMENTS["routing"].trials(LIVE, 1)
    equal, unequal = played[0], played[-1]

    with stage.stage(engines(played), played) as made:
        made.set(equal)
        first = set(selectors.policy().backends)
        made.set(unequal)
        then = set(selectors.policy().backends)

    assert len(made.urls_of(unequal)) == len(first) == len(then) == 4
    assert not first & then


def test_a_dealt_request_asks_for_the_model_of_its_engine_alone() -> None:
    played = EXPERIMENTS["routing"].trials(LIVE, 1)
    dealt, pulled = played[0], played[3]

    with stage.stage(engines(played), played) as made:
        made.set(dealt)
        policy = selectors.policy()
        asked = made.model_of(dealt, 0)
        serving = [name for name, rule in policy.backends.items() if asked in rule.models]

    assert len(serving) == 1
    assert made.model_of(pulled, 0) == stage.NAME


def test_a_trials_quota_and_policy_hold_while_it_is_played_and_not_after() -> None:
    played = EXPERIMENTS["engine-priority"].trials(LIVE, 1)
    leaving, next_one = played[-1], played[0]

    with stage.stage(engines(played), played) as made:
        made.set(leaving)
        held = selectors.policy()
        made.set(next_one)
        after = selectors.policy()

    assert held.tenants["experiment-power"].most("in_flight") == LIVE.seats // 2
    assert held.pools[stage.NAME].engine_priority == "with_window"
    assert after.tenants["experiment-power"].most("in_flight") is None
    assert after.pools[stage.NAME].engine_priority == "off"


def test_trials_of_one_experiment_share_engines_of_one_kind() -> None:
    trials = EXPERIMENTS["headers"].trials(LIVE, 1)
    found = engines(trials)

    assert [engine.spec.sends_headers for engine in found] == [False, True]
    assert [cast(trial, found) for trial in trials] == [[0], [0], [0], [1], [1]]
