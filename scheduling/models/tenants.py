"""Who shares the engines: tenants, their classes and their quotas."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from scheduling.core import policy
from scheduling.models.pools import ServedModel
from scheduling.models.rules import choices_of, one_of


class PriorityClass(models.Model):
    """A band: all waiting work of a lower rank goes before the next rank's."""

    name = models.SlugField(max_length=50, unique=True)
    rank = models.PositiveSmallIntegerField(unique=True, help_text="0 goes first.")
    reserved_seats = models.PositiveSmallIntegerField(
        default=0, help_text="Seats of every backend kept for this class and better ones."
    )
    lent_seats = models.PositiveSmallIntegerField(
        default=0, help_text="Reserved seats that worse classes may borrow while nobody of this one waits."
    )
    max_wait_s = models.PositiveIntegerField(
        null=True, blank=True, help_text="A request that waited this long is promoted. Empty: never."
    )

    class Meta:
        ordering = ["rank"]
        constraints = [
            models.CheckConstraint(
                condition=Q(lent_seats__lte=F("reserved_seats")), name="class_lends_only_what_it_reserves"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse to lend what is not there, with the mend at the field."""
        if self.lent_seats > self.reserved_seats:
            most = f"At most the reserved_seats can be lent: {self.reserved_seats}, not {self.lent_seats}."
            raise ValidationError({"lent_seats": f"{most} Lend fewer, or reserve more."})


class Tenant(models.Model):
    """A party that shares the engines: the unit of fairness and of billing."""

    class State(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"
        SUSPENDED = "suspended"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    weight = models.PositiveSmallIntegerField(
        default=policy.DEFAULT_WEIGHT,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Share of service under contention. Weight 4 gets four times weight 1.",
    )
    priority_class = models.ForeignKey(PriorityClass, on_delete=models.PROTECT, related_name="tenants")
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    boost = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(policy.MAX_BOOST)],
        help_text="How many times the weight counts until boost_until.",
    )
    boost_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(weight__gte=1, weight__lte=1000), name="tenant_weight_from_1_to_1000"
            ),
            models.CheckConstraint(
                condition=Q(boost__gte=1, boost__lte=policy.MAX_BOOST), name="tenant_boost_from_1_to_100"
            ),
            models.CheckConstraint(
                condition=Q(boost=1) | Q(boost_until__isnull=False), name="tenant_boost_has_an_end"
            ),
            one_of("state", ("active", "paused", "suspended"), "tenant_state_is_known"),
        ]

    def __str__(self) -> str:
        return self.slug


class Quota(models.Model):
    """A limit of one tenant, or, with a model, of its requests for that model."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="quotas")
    model = models.ForeignKey(
        ServedModel, null=True, blank=True, on_delete=models.CASCADE, related_name="quotas"
    )
    kind = models.CharField(max_length=30, choices=choices_of(policy.QUOTA_KINDS))
    limit = models.PositiveBigIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(policy.MAX_QUOTA)]
    )
    waits = models.BooleanField(
        default=True, help_text="A request waits for the minute's allowance. Otherwise it is refused."
    )

    class Meta:
        ordering = ["kind"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "kind"],
                condition=Q(model__isnull=True),
                name="quota_once_per_tenant_and_kind",
            ),
            models.UniqueConstraint(
                fields=["tenant", "model", "kind"],
                condition=Q(model__isnull=False),
                name="quota_once_per_tenant_model_and_kind",
            ),
            models.CheckConstraint(condition=Q(limit__gte=1), name="quota_limit_from_1"),
            models.CheckConstraint(
                condition=Q(waits=True) | Q(kind__in=policy.MINUTE_KINDS),
                name="quota_refuses_per_minute_only",
            ),
            one_of("kind", policy.QUOTA_KINDS, "quota_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant} {self.kind} {self.limit}"
