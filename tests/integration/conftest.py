"""Fixtures of the console's tests."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests import scenes


@pytest.fixture
def quick_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def admin(db, quick_passwords):
    return User.objects.create_user("ada", password=scenes.PASSWORD, is_staff=True)


@pytest.fixture
def console(admin, valkey):
    scenes.make_rules()
    scenes.publish(valkey)
    client = Client()
    client.force_login(admin)
    return client


@pytest.fixture
def visitor(console):
    client = Client()
    client.force_login(User.objects.create_user("vera", password=scenes.PASSWORD))
    return client
