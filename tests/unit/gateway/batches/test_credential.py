"""The word with which the jobs worker asks in a tenant's name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.batches import credential
from gateway.callers import CallerTable
from gateway.doorman import Doorman
from gateway.errors import Suspended, Unauthenticated
from gateway.tokens import digest
from tests.fakes.gateway import Cast

CAST = Cast.of("chat", "shop")
CHAT = digest(CAST.secrets["chat"])
NOW_S = 1_800_000_000.0


def doorman(now_s=lambda: NOW_S, callers=None, policy=None) -> Doorman:
    made = Doorman(now_s)
    made.set_policy(policy or CAST.policy())
    made.set_callers(callers or CAST.callers())
    return made


def headers(word: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {word}".encode()}


def test_it_stands_for_the_api_token_in_class_batch():
    caller = doorman().admit(headers(credential.issue(CHAT, NOW_S)))

    assert (caller.tenant, caller.token_id, caller.class_ceiling) == ("chat", 1, "batch")


def test_it_dies_with_the_api_token_and_with_its_time():
    now = [NOW_S]
    door = doorman(lambda: now[0])
    word = headers(credential.issue(CHAT, NOW_S))
    door.admit(word)

    now[0] += credential.LIFE_S + 1
    with pytest.raises(Unauthenticated, match="expired"):
        door.admit(word)
    now[0] = NOW_S
    door.set_callers(CallerTable(2, {}))
    with pytest.raises(Unauthenticated):
        door.admit(word)


def test_it_does_not_outlive_an_api_token_that_expires_sooner():
    door = doorman(callers=CAST.callers(expires_at_s=NOW_S - 1))

    with pytest.raises(Unauthenticated, match="expired"):
        door.admit(headers(credential.issue(CHAT, NOW_S)))


def test_a_suspended_tenants_is_refused():
    policy = CAST.policy()
    tenants = {name: replace(rule, suspended=name == "chat") for name, rule in policy.tenants.items()}

    with pytest.raises(Suspended):
        doorman(policy=replace(policy, tenants=tenants)).admit(headers(credential.issue(CHAT, NOW_S)))


def test_a_word_that_is_changed_or_made_up_opens_nothing(settings):
    word = credential.issue(CHAT, NOW_S)
    settings.SECRET_KEY = "another"
    foreign = credential.issue(CHAT, NOW_S)
    settings.SECRET_KEY = "mine"

    for bad in (word[:-1], word + "x", foreign, "flb_", "flb_a:b:c", "flb_\xe9"):
        with pytest.raises(Unauthenticated):
            doorman().admit(headers(bad))


def test_without_a_class_batch_it_has_the_last_class_and_a_worse_ceiling_stays():
    policy = CAST.policy()
    classes = {name: rule for name, rule in policy.classes.items() if name != "batch"}
    word = headers(credential.issue(CHAT, NOW_S))

    assert doorman(policy=replace(policy, classes=classes)).admit(word).class_ceiling == "standard"
    worse = {**policy.classes, "spare": replace(policy.classes["batch"], name="spare", rank=9)}
    door = doorman(policy=replace(policy, classes=worse), callers=CAST.callers(class_ceiling="spare"))
    assert door.admit(word).class_ceiling == "spare"
