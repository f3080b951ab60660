"""What is shared: pools, the models and backends in them, and the rules between."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from scheduling.core import policy, usage
from scheduling.models.rules import NAME, choices_of, one_of

MAX_COST_WEIGHT = 100  # cost tokens of one token: a pool may weigh one kind a hundred times the other
LEAST_POLL_MS, MOST_POLL_MS = 100, 60_000
LEAST_KV_FILL_PERCENT = 50  # below, a reservation starves the engine; 0 turns it off
MOST_PREFIX_SLACK = 64
COST_WEIGHT = [MinValueValidator(1), MaxValueValidator(MAX_COST_WEIGHT)]


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
    engine = models.CharField(max_length=20, choices=choices_of(policy.ENGINES), default="vllm")
    served_models = models.ManyToManyField(ServedModel, blank=True, related_name="backends")
    max_in_flight = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Requests it may hold at once. Empty: as many as the engine says it takes.",
    )
    kv_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Tokens that its KV memory holds. Empty: as the engine says.",
    )
    poll_every_ms = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(LEAST_POLL_MS), MaxValueValidator(MOST_POLL_MS)],
        help_text="How often its metrics are read. Empty: FAIRLANE_POLL_EVERY_S.",
    )
    priority_order = models.CharField(
        max_length=10,
        choices=choices_of(policy.PRIORITY_ORDERS),
        blank=True,
        default="",
        help_text="Which priority numbers it serves first. Empty: as its engine usually does.",
    )
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
            one_of("state", ("open", "draining"), "backend_state_is_known"),
            one_of("engine", policy.ENGINES, "backend_engine_is_known"),
            one_of("priority_order", ("", *policy.PRIORITY_ORDERS), "backend_priority_order_is_known"),
            models.CheckConstraint(condition=Q(kv_tokens__gte=1), name="backend_kv_tokens_from_1"),
            models.CheckConstraint(
                condition=Q(poll_every_ms__gte=LEAST_POLL_MS, poll_every_ms__lte=MOST_POLL_MS),
                name="backend_poll_every_ms_from_100_to_60000",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SchedulingPolicy(models.Model):
    """How one pool shares and admits."""

    pool = models.OneToOneField(Pool, on_delete=models.CASCADE, related_name="policy")
    fairness = models.CharField(max_length=30, choices=choices_of(policy.FAIRNESS), default="token_fair")
    admission = models.CharField(
        max_length=30, choices=choices_of(policy.ADMISSION), default="first_token_window"
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
    stale = models.CharField(max_length=10, choices=choices_of(policy.STALE), default="keep")
    counts_sent = models.BooleanField(
        default=False,
        help_text="Law queue_target: count what was sent since the reading, so that no herd gets in.",
    )
    kv_fill_percent = models.PositiveSmallIntegerField(
        default=100,
        validators=[MaxValueValidator(100)],
        help_text="Part of an engine's KV memory that requests may reserve, 50 to 100. 0: no reservation.",
    )
    prefix_slack_requests = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST_PREFIX_SLACK)],
        help_text="How many more waiting requests a backend may have that knows the prompt's beginning. "
        "Empty: prompts are not compared.",
    )
    engine_priority = models.CharField(
        max_length=15, choices=choices_of(policy.ENGINE_PRIORITY), default="off"
    )
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
            one_of("fairness", policy.FAIRNESS, "policy_fairness_is_known"),
            one_of("admission", policy.ADMISSION, "policy_admission_is_known"),
            one_of("stale", policy.STALE, "policy_stale_is_known"),
            one_of("engine_priority", policy.ENGINE_PRIORITY, "policy_engine_priority_is_known"),
            models.CheckConstraint(
                condition=Q(kv_fill_percent=0)
                | Q(kv_fill_percent__gte=LEAST_KV_FILL_PERCENT, kv_fill_percent__lte=100),
                name="policy_kv_fill_0_or_50_to_100",
            ),
            models.CheckConstraint(
                condition=Q(prefix_slack_requests__lte=MOST_PREFIX_SLACK),
                name="policy_prefix_slack_up_to_64",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pool_id} {self.fairness}"

    def clean(self) -> None:
        """Refuse a KV fill so small that the engine would starve, with the mend at the field."""
        if 0 < self.kv_fill_percent < LEAST_KV_FILL_PERCENT:
            raise ValidationError(
                {
                    "kv_fill_percent": f"{self.kv_fill_percent} would starve the engine. "
                    f"Use {LEAST_KV_FILL_PERCENT} to 100, or 0 for no reservation."
                }
            )


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
