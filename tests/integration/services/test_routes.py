"""Aliases and fallbacks: what they may say, and what of it the gateways get."""

from __future__ import annotations

import re

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from scheduling import selectors, services
from scheduling.core.policy import ModelRoute
from tests.integration.services.rules import BY, written

pytestmark = pytest.mark.django_db


@pytest.fixture
def routes(shop):
    """An alias over two pools, and a model with a stand-in."""
    services.create_pool("side", by=BY)
    services.create_model("tiny", "side", by=BY)
    services.create_alias("fast", {"llama": 95, "tiny": 5}, by=BY, fallbacks=["qwen"])
    services.set_fallbacks("llama", ["tiny", "qwen"], by=BY)


def test_the_gateways_get_aliases_with_shares_and_models_with_fallbacks_in_order(routes) -> None:
    assert selectors.policy().routes == {
        "fast": ModelRoute((("llama", 95), ("tiny", 5)), ("qwen",)),
        "llama": ModelRoute((("llama", 1),), ("tiny", "qwen")),
    }


def test_a_canary_is_turned_up_and_taken_back_by_one_undo(routes) -> None:
    services.change_alias("fast", by=BY, targets={"llama": 50, "tiny": 50})
    change = selectors.changes()[0]
    assert (change.field, change.before, change.after) == (
        "targets",
        {"llama": 95, "tiny": 5},
        {"llama": 50, "tiny": 50},
    )

    services.undo(change.id, by=BY)

    assert dict(selectors.policy().routes["fast"].targets) == {"llama": 95, "tiny": 5}


def test_setting_what_is_so_already_writes_nothing(routes) -> None:
    before = written()
    services.change_alias("fast", by=BY, targets={"tiny": 5, "llama": 95}, fallbacks=["qwen"])
    services.set_fallbacks("llama", ["tiny", "qwen"], by=BY)
    assert written() == before


REFUSED = {
    "name of a model": (
        lambda: services.create_alias("llama", {"qwen": 1}, by=BY),
        "name: .*name of its own",
    ),
    "model named as an alias": (lambda: services.create_model("fast", "main", by=BY), "name: .*is an alias"),
    "unknown target": (lambda: services.create_alias("b", {"gpt": 1}, by=BY), "targets: .*gpt.*llama"),
    "target that is an alias": (lambda: services.create_alias("b", {"fast": 1}, by=BY), "targets: .*fast"),
    "no target": (lambda: services.create_alias("b", {}, by=BY), "targets: .*weight above 0"),
    "no weight": (lambda: services.change_alias("fast", by=BY, targets={"llama": 0}), "targets: .*above 0"),
    "weight": (lambda: services.change_alias("fast", by=BY, targets={"llama": 1001}), "targets: .*0 to 1000"),
    "negative": (lambda: services.change_alias("fast", by=BY, targets={"llama": -1}), "targets: .*0 to 1000"),
    "unknown fallback": (lambda: services.set_fallbacks("qwen", ["gpt"], by=BY), "fallbacks: .*gpt"),
    "twice": (lambda: services.set_fallbacks("qwen", ["tiny", "tiny"], by=BY), "fallbacks: .*each once"),
    "itself": (lambda: services.set_fallbacks("qwen", ["tiny", "qwen"], by=BY), "fallbacks: .*for itself"),
    "spaces": (lambda: services.create_alias("my alias", {"llama": 1}, by=BY), "name: .*letters"),
}


@pytest.mark.parametrize(("write", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_route_is_refused_by_field_and_changes_nothing(routes, write, says) -> None:
    before, rules = written(), selectors.policy()
    with pytest.raises(ValidationError) as refused:
        write()
    (told,) = (f"{field}: {' '.join(each)}" for field, each in refused.value.message_dict.items())
    assert re.search(says, told)
    assert (written(), selectors.policy()) == (before, rules)


@pytest.mark.parametrize("model", ["llama", "tiny", "qwen"])
def test_a_model_that_routes_need_is_not_deleted(routes, model) -> None:
    with pytest.raises(services.Conflict, match=f"{model} is still needed by (alias target|fallback)"):
        services.delete_model(model, by=BY)


def test_an_alias_goes_alone_and_a_model_takes_its_own_fallbacks_with_it(routes) -> None:
    services.delete_alias("fast", by=BY)
    services.delete_model("llama", by=BY)

    assert selectors.policy().routes == {}
    assert selectors.changes()[0].before == {"pool": "main", "fallbacks": ["tiny", "qwen"]}
    services.delete_model("tiny", by=BY)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scheduling_aliastarget SET weight = 1001",
        "UPDATE scheduling_fallback SET of_model_id = NULL, of_alias_id = NULL",
        "UPDATE scheduling_fallback SET position = 0",
    ],
)
def test_the_database_itself_refuses_a_bad_route(routes, statement) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
