from __future__ import annotations

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.test import Client

from config import admins, demo
from scheduling import selectors, services

pytestmark = pytest.mark.django_db


def test_the_demo_is_made_once_and_its_secret_told_once():
    first = demo.seed()
    ports = demo.place_engines()

    again = demo.seed()

    assert first is not None
    assert again is None
    assert set(ports) == set(demo.BACKENDS) == set(selectors.policy().backends)


def test_a_demo_backend_keeps_its_port_and_changes_nothing():
    demo.seed()
    ports = demo.place_engines()
    revision = selectors.revision()

    assert demo.place_engines() == ports
    assert selectors.revision() == revision


def test_the_demo_runs_where_nothing_is_configured_and_goes_when_its_backends_do():
    assert demo.wanted(asked=None, embedded=True)
    assert not demo.wanted(asked=None, embedded=False)
    demo.seed()
    demo.place_engines()
    services.create_backend("gpu-0", demo.POOL, "http://127.0.0.1:9", by="test")
    assert demo.wanted(asked=None, embedded=True)

    for name in demo.BACKENDS:
        services.delete_backend(name, by="test")

    assert not demo.wanted(asked=None, embedded=True)
    assert demo.wanted(asked=True, embedded=False)


def test_the_first_admin_comes_once_and_without_a_password():
    first = admins.create_first()

    assert first is not None
    assert admins.create_first() is None
    assert admins.waits_for_password() == "admin"
    assert not first.has_usable_password()


def test_a_set_up_link_leads_to_the_page_and_dies_on_use(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    admin = admins.create("ada", by="test")
    link = admins.link_path("ada")
    token = link.rstrip("/").split("/")[-1]
    assert Client().get(link, follow=True).status_code == 200

    admin.set_password("long enough to pass")
    admin.save()

    assert not default_token_generator.check_token(admin, token)
    assert admins.waits_for_password() is None


def test_a_weak_password_or_a_taken_name_is_refused():
    with pytest.raises(ValidationError, match="too short"):
        admins.create("ada", by="test", password="short")
    admins.create("ada", by="test")
    with pytest.raises(ValidationError, match="already exists"):
        admins.create("ada", by="test")


def test_a_link_for_nobody_names_the_admins():
    admins.create("ada", by="test")

    with pytest.raises(ValidationError, match=r"no admin 'eve'. Admins: ada"):
        admins.link_path("eve")
