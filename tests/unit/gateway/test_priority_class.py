"""Which class a request runs in when it names a priority, a tier or a class."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from gateway.callers import Caller
from gateway.classes import choose_class
from tests.fakes.gateway import Cast

CAST = Cast.of("research")
CALLER = Caller(7, "research", "ci")


@pytest.mark.parametrize(
    ("own", "priority", "expected"),
    [
        ("standard", 0, "standard"),
        ("standard", -1, "interactive"),
        ("standard", 1, "batch"),
        ("standard", -(2**40), "interactive"),
        ("standard", 2**70, "batch"),
        ("interactive", 1, "standard"),
        ("batch", -1, "standard"),
    ],
)
def test_a_lower_priority_number_is_a_better_class_as_vllm_has_it(own, priority, expected):
    policy = _of_class(own)
    assert choose_class(None, {}, CALLER, policy, priority) == expected


def test_a_priority_is_bounded_by_the_api_tokens_ceiling():
    capped = Caller(7, "research", "ci", class_ceiling="standard")
    assert choose_class(None, {}, capped, _of_class("standard"), -5) == "standard"
    assert choose_class(None, {}, capped, _of_class("standard"), 5) == "batch"


def test_a_header_goes_before_a_tier_and_a_tier_before_a_priority():
    policy, header = _of_class("standard"), {b"x-priority-class": b"standard"}
    assert choose_class("priority", header, CALLER, policy, 1) == "standard"
    assert choose_class("priority", {}, CALLER, policy, 1) == "interactive"
    assert choose_class("auto", {}, CALLER, policy, 1) == "batch"


def test_anthropics_standard_only_is_the_standard_class():
    assert choose_class("standard_only", {}, CALLER, _of_class("interactive")) == "standard"


def _of_class(name):
    policy = CAST.policy()
    tenants = {slug: replace(rule, priority_class=name) for slug, rule in policy.tenants.items()}
    return replace(policy, tenants=MappingProxyType(tenants))
