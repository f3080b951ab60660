# over 300 lines: one table of all rows
"""Tenants, pools, backends and the rules between them. Written only through services.py."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from scheduling.core import policy, usage

NAME = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$",
    "Use letters, digits and . _ : / @ + - only, beginning with a letter or digit.",
)
MAX_COST_WEIGHT = 100  # cost tokens of one token: a pool may weigh one kind a hundred times the other
COST_WEIGHT = [MinValueValidator(1), MaxValueValidator(MAX_COST_WEIGHT)]


def _one_of(field: str, values: tuple[str, ...], name: str) -> models.CheckConstraint:
    return models.CheckConstraint(condition=Q(**{f"{field}__in": values}), name=name)


def _choices(values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(value, value.replace("_", " ")) for value in values]


class Revision(models.Model):
    """The number of the rules in force. One row; every write adds one."""

    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="revision_has_one_row")]

    def __str__(self) -> str:
        return str(self.number)


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
            _one_of("state", ("active", "paused", "suspended"), "tenant_state_is_known"),
        ]

    def __str__(self) -> str:
        return self.slug


class Pool(models.Model):
    """Backends that stand in for each other: the scheduling domain."""

    name = models.SlugField(max_length=63, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ServedModel(models.Model):
    """A model name that clients ask for."""

    name = models.CharField(max_length=200, unique=True, validators=[NAME])
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="models")
    created_at = models.DateTimeField(auto_now_add=True)
    prompt_price = models.PositiveBigIntegerField(
        default=0, help_text="Micro-units of money per million prompt tokens."
    )
    cached_price = models.PositiveBigIntegerField(
        default=0, help_text="The same for prompt tokens that the engine had in its cache."
    )
    completion_price = models.PositiveBigIntegerField(
        default=0, help_text="Micro-units of money per million completion tokens."
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Quota(models.Model):
    """A limit of one tenant, or, with a model, of its requests for that model."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="quotas")
    model = models.ForeignKey(
        ServedModel, null=True, blank=True, on_delete=models.CASCADE, related_name="quotas"
    )
    kind = models.CharField(max_length=30, choices=_choices(policy.QUOTA_KINDS))
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
            _one_of("kind", policy.QUOTA_KINDS, "quota_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant} {self.kind} {self.limit}"


class Backend(models.Model):
    """One engine at one URL, in exactly one pool.

    No listed model means that it serves every model of its pool.
    """

    class State(models.TextChoices):
        OPEN = "open"
        DRAINING = "draining"

    name = models.SlugField(max_length=63, unique=True)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="backends")
    url = models.CharField(max_length=500, help_text="http://host:port, with a base path if it has one.")
    engine = models.CharField(max_length=20, choices=_choices(policy.ENGINES), default="vllm")
    served_models = models.ManyToManyField(ServedModel, blank=True, related_name="backends")
    max_in_flight = models.PositiveIntegerField(default=32, validators=[MinValueValidator(1)])
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    api_key_encrypted = models.BinaryField(
        default=b"", blank=True, help_text="The engine's own API key, under the installation's secret key."
    )
    ca_pem = models.TextField(blank=True, default="", help_text="Trust only this CA. Empty: the system's.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(max_in_flight__gte=1), name="backend_max_in_flight_from_1"),
            models.CheckConstraint(
                condition=Q(url__startswith="http://") | Q(url__startswith="https://"),
                name="backend_url_is_http",
            ),
            _one_of("state", ("open", "draining"), "backend_state_is_known"),
            _one_of("engine", policy.ENGINES, "backend_engine_is_known"),
        ]

    def __str__(self) -> str:
        return self.name


class SchedulingPolicy(models.Model):
    """How one pool shares and admits."""

    pool = models.OneToOneField(Pool, on_delete=models.CASCADE, related_name="policy")
    fairness = models.CharField(max_length=30, choices=_choices(policy.FAIRNESS), default="token_fair")
    admission = models.CharField(
        max_length=30, choices=_choices(policy.ADMISSION), default="first_token_window"
    )
    window_requests = models.PositiveSmallIntegerField(
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(128)],
        help_text="Requests per backend that may still wait for their first token, at the start.",
    )
    engine_queue_target_requests = models.PositiveSmallIntegerField(
        default=3, help_text="How many requests to leave waiting inside an engine."
    )
    tpot_target_ms = models.PositiveIntegerField(
        null=True, blank=True, help_text="Keep the time per output token under this. Empty: no guard."
    )
    stale = models.CharField(max_length=10, choices=_choices(policy.STALE), default="keep")
    paused = models.BooleanField(default=False, help_text="Nothing is seated; what runs goes on.")
    prompt_weight = models.PositiveSmallIntegerField(
        default=usage.PROMPT_WEIGHT, validators=COST_WEIGHT, help_text="Cost of one prompt token."
    )
    completion_weight = models.PositiveSmallIntegerField(
        default=usage.COMPLETION_WEIGHT, validators=COST_WEIGHT, help_text="Cost of one completion token."
    )
    cached_discount_percent = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(100)],
        help_text="Taken off prompt tokens that the engine had in its cache.",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(prompt_weight__gte=1, prompt_weight__lte=MAX_COST_WEIGHT),
                name="policy_prompt_weight_from_1_to_100",
            ),
            models.CheckConstraint(
                condition=Q(completion_weight__gte=1, completion_weight__lte=MAX_COST_WEIGHT),
                name="policy_completion_weight_from_1_to_100",
            ),
            models.CheckConstraint(
                condition=Q(cached_discount_percent__lte=100), name="policy_cached_discount_up_to_100"
            ),
            models.CheckConstraint(
                condition=Q(window_requests__gte=1, window_requests__lte=128),
                name="policy_window_from_1_to_128",
            ),
            _one_of("fairness", policy.FAIRNESS, "policy_fairness_is_known"),
            _one_of("admission", policy.ADMISSION, "policy_admission_is_known"),
            _one_of("stale", policy.STALE, "policy_stale_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.pool_id} {self.fairness}"


class BackendReading(models.Model):
    """One thinned point of a backend's history: what it said, and the limit that followed."""

    backend = models.ForeignKey(Backend, on_delete=models.CASCADE, related_name="readings")
    at = models.DateTimeField()
    running = models.PositiveIntegerField(null=True)
    waiting = models.PositiveIntegerField(null=True)
    kv_usage = models.FloatField(null=True)
    window = models.PositiveIntegerField()
    cap = models.PositiveIntegerField()
    reason = models.CharField(max_length=200)
    error = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["backend", "-at"], name="reading_by_backend_and_time")]

    def __str__(self) -> str:
        return f"{self.backend_id} {self.at:%H:%M:%S}"


class Change(models.Model):
    """One edit: who changed what, from what to what. Never updated but for ``undone_by``."""

    at = models.DateTimeField(auto_now_add=True)
    revision = models.PositiveBigIntegerField()
    by = models.CharField(max_length=200, help_text="admin:NAME, token:NAME, cli, or apply.")
    verb = models.CharField(max_length=30, help_text="create, set, delete, issue, revoke, undo …")
    noun = models.CharField(max_length=30, help_text="tenant, backend, policy, api_token …")
    target = models.CharField(max_length=200)
    field = models.CharField(max_length=50, blank=True, default="")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    why = models.CharField(max_length=500, blank=True, default="")
    undone_by = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="undoes"
    )

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["noun", "target", "-id"], name="change_by_target")]

    def __str__(self) -> str:
        return f"{self.verb} {self.noun} {self.target}"


class Command(models.Model):
    """Something to be done once, by the gateway that holds the target (design.md section 2)."""

    class Kind(models.TextChoices):
        CANCEL = "cancel"
        MOVE_TO_FRONT = "move_to_front"
        HOLD = "hold"
        RELEASE = "release"
        EXPLAIN = "explain"

    kind = models.CharField(max_length=20, choices=Kind.choices)
    target = models.CharField(max_length=200)
    arguments = models.JSONField(default=dict, blank=True)
    by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    claimed_by = models.CharField(max_length=100, blank=True, default="")
    done_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["cancel", "move_to_front", "hold", "release", "explain"]),
                name="command_kind_is_known",
            ),
            models.CheckConstraint(
                condition=Q(done_at__isnull=True) | ~Q(claimed_by=""), name="command_is_done_by_somebody"
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="command_expires_after_it_began"
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=Q(done_at__isnull=True), name="command_open_by_expiry"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"
