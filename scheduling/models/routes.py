"""Names beside the served models': where their requests go, and where they go instead."""

from __future__ import annotations

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from scheduling.core import policy
from scheduling.models.pools import ServedModel
from scheduling.models.rules import NAME


class Alias(models.Model):
    """A name that clients ask for and no backend has: each request goes to one of its targets."""

    name = models.CharField(max_length=200, unique=True, validators=[NAME])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class AliasTarget(models.Model):
    """One served model behind an alias, with its share of the alias's requests."""

    alias = models.ForeignKey(Alias, on_delete=models.CASCADE, related_name="target_rows")
    model = models.ForeignKey(ServedModel, on_delete=models.PROTECT, related_name="alias_targets")
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MaxValueValidator(policy.MAX_WEIGHT)],
        help_text="Share of the alias's requests. 0: none now.",
    )

    class Meta:
        ordering = ["model__name"]
        constraints = [
            models.UniqueConstraint(fields=["alias", "model"], name="alias_names_a_target_once"),
            models.CheckConstraint(
                condition=Q(weight__lte=policy.MAX_WEIGHT), name="alias_target_weight_up_to_1000"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias} → {self.model}"


class Fallback(models.Model):
    """A served model that takes over from a model or an alias while no backend serves that."""

    of_model = models.ForeignKey(
        ServedModel, null=True, blank=True, on_delete=models.CASCADE, related_name="fallback_rows"
    )
    of_alias = models.ForeignKey(
        Alias, null=True, blank=True, on_delete=models.CASCADE, related_name="fallback_rows"
    )
    position = models.PositiveSmallIntegerField(help_text="0 is tried first.")
    model = models.ForeignKey(ServedModel, on_delete=models.PROTECT, related_name="fallback_uses")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.CheckConstraint(
                condition=Q(of_model__isnull=False, of_alias__isnull=True)
                | Q(of_model__isnull=True, of_alias__isnull=False),
                name="fallback_of_a_model_or_an_alias",
            ),
            models.UniqueConstraint(fields=["of_model", "position"], name="fallback_order_of_model"),
            models.UniqueConstraint(fields=["of_alias", "position"], name="fallback_order_of_alias"),
        ]

    def __str__(self) -> str:
        return f"{self.of_model or self.of_alias} → {self.model}"
