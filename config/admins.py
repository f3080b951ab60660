"""Admins of the console: made with a password, or with a one-time link to choose one."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from scheduling.services import Stamp, record, writing

FIRST = "admin"


def create(name: str, *, by: str, password: str | None = None) -> User:
    """Make an admin; without a password, one who has to follow a link first.

    Raises ValidationError for a name that is taken or unfit, or a weak password.
    """
    admin = User(username=name, is_staff=True, is_superuser=True)
    if password is None:
        admin.set_unusable_password()
    else:
        validate_password(password, admin)
        admin.set_password(password)
    admin.full_clean(exclude=["password"])
    with writing():
        admin.save()
        record("admin", name, Stamp(by, "", "create"), after={"name": name})
    return admin


def create_first() -> User | None:
    """The first admin of a new installation; None when there is an admin already."""
    if get_user_model().objects.exists():
        return None
    return create(FIRST, by="serve")


def link_path(name: str) -> str:
    """The path of a link to choose a new password: it dies on use, or after an hour.

    Raises ValidationError when there is no such admin.
    """
    admin = User.objects.filter(username=name, is_active=True).first()
    if admin is None:
        known = ", ".join(User.objects.order_by("username").values_list("username", flat=True)) or "none yet"
        raise ValidationError({"name": f"There is no admin {name!r}. Admins: {known}."})
    who = urlsafe_base64_encode(force_bytes(admin.pk))
    return f"/welcome/{who}/{default_token_generator.make_token(admin)}/"


def waits_for_password() -> str | None:
    """The name of an admin while nobody has chosen a password yet."""
    admins = list(User.objects.filter(is_active=True).order_by("pk"))
    if not admins or any(admin.has_usable_password() for admin in admins):
        return None
    return admins[0].username
