"""Signing in and out, and the one-time set-up link."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from tests.scenes import PASSWORD, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def nobody(valkey):
    cache.clear()
    return Client()


def test_signing_in_leads_where_one_wanted_to_go(admin, nobody):
    form = {"username": "ada", "password": PASSWORD, "next": reverse("audit")}

    assert nobody.post(reverse("sign-in"), form).headers["Location"] == reverse("audit")
    assert nobody.post(reverse("sign-out")).headers["Location"] == reverse("sign-in")
    assert nobody.get(reverse("audit")).status_code == 302


def test_signing_in_never_leads_to_another_site(admin, nobody):
    form = {"username": "ada", "password": PASSWORD, "next": "https://evil.example/"}

    assert nobody.post(reverse("sign-in"), form).headers["Location"] == reverse("overview")


def test_after_five_wrong_passwords_even_the_right_one_must_wait(admin, nobody):
    wrong = {"username": "ada", "password": "wrong"}
    answers = [nobody.post(reverse("sign-in"), wrong).status_code for _ in range(5)]

    late = nobody.post(reverse("sign-in"), {"username": "ada", "password": PASSWORD})

    assert answers == [422] * 5
    assert late.status_code == 429
    assert "Wait up to 5 minutes" in text(late)


def test_of_wrong_passwords_that_come_at_once_no_more_are_looked_at(admin, nobody, monkeypatch):
    looked_at = []

    def as_others_come(**_given) -> None:
        looked_at.append("one")
        if len(looked_at) < 9:  # the next one is there before this one is found wrong
            Client().post(reverse("sign-in"), {"username": "ada", "password": "wrong"})

    monkeypatch.setattr("django.contrib.auth.forms.authenticate", lambda *_, **given: as_others_come(**given))

    nobody.post(reverse("sign-in"), {"username": "ada", "password": "wrong"})

    assert len(looked_at) == 5


def test_who_signs_in_again_and_again_need_not_wait(admin, nobody):
    right = {"username": "ada", "password": PASSWORD}

    assert {Client().post(reverse("sign-in"), right).status_code for _ in range(31)} == {302}


def invitation(user: User) -> str:
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("welcome", args=[uid, default_token_generator.make_token(user)])


def test_a_set_up_link_sets_the_password_signs_in_and_dies(nobody, valkey):
    user = User.objects.create_user("new", is_staff=True)
    link = invitation(user)

    short = nobody.post(link, {"new_password1": "short", "new_password2": "short"})
    done = nobody.post(link, {"new_password1": PASSWORD, "new_password2": PASSWORD})
    again = Client().get(link)

    assert short.status_code == 422
    assert done.headers["Location"] == reverse("overview")
    assert nobody.get(reverse("overview")).status_code == 200
    assert again.status_code == 410
    assert "manage.py admin link" in text(again)


def test_a_made_up_link_is_as_dead_as_a_used_one(nobody):
    for uid in ("x", "MQ", "%FF"):
        assert nobody.get(f"/welcome/{uid}/abc-def/").status_code == 410


def test_a_page_that_there_is_not_says_so_in_words(nobody):
    answer = nobody.get("/no-such-page")

    assert answer.status_code == 404
    assert "There is no such page." in answer.content.decode()


def test_a_foreign_host_is_one_line_in_the_log_that_names_it(admin, nobody, caplog):
    assert nobody.get(reverse("sign-in"), headers={"host": "evil.example"}).status_code == 400

    (said,) = [record for record in caplog.records if record.name == "django.security.DisallowedHost"]
    assert "evil.example" in said.getMessage()
    assert said.exc_info is None
