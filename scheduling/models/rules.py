"""What several tables say of their fields."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

NAME = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$",
    "Use letters, digits and . _ : / @ + - only, beginning with a letter or digit.",
)


def one_of(field: str, values: tuple[str, ...], name: str) -> models.CheckConstraint:
    """The rule that a field holds one of these values, in the database itself."""
    return models.CheckConstraint(condition=Q(**{f"{field}__in": values}), name=name)


def choices_of(values: tuple[str, ...]) -> list[tuple[str, str]]:
    """The same values for a form, as people say them."""
    return [(value, value.replace("_", " ")) for value in values]
