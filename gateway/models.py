"""API tokens, one usage record per accepted request, and the sums of the records by hour and day."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from gateway.batches.models import Batch, BatchResult, FileChunk, StoredFile
from scheduling.core.outcome import Outcome

__all__ = ["ApiToken", "Batch", "BatchResult", "FileChunk", "StoredFile", "UsageRecord"]


class ApiToken(models.Model):
    """A credential. Only its SHA-256 is kept: 160 random bits need no pepper.

    With a tenant it is for inference (prefix ``fl_``); without one it is an
    admin's, for the control API (prefix ``fla_``). Never both.
    """

    INFERENCE = "inference"

    name = models.CharField(max_length=100)
    tenant = models.ForeignKey(
        "scheduling.Tenant", null=True, blank=True, on_delete=models.CASCADE, related_name="api_tokens"
    )
    admin = models.ForeignKey(
        "auth.User", null=True, blank=True, on_delete=models.CASCADE, related_name="api_tokens"
    )
    digest = models.BinaryField(max_length=32, unique=True)
    prefix = models.CharField(max_length=12)
    last4 = models.CharField(max_length=4)
    scopes = ArrayField(models.CharField(max_length=50), default=list)
    class_ceiling = models.ForeignKey(
        "scheduling.PriorityClass", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    quotas = models.JSONField(
        default=dict, blank=True, help_text="Its own limits, by kind, as a file writes them."
    )
    allowed_models = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="The models and aliases it may ask for; none: all of them.",
    )
    hold_status_s = models.FloatField(
        null=True,
        blank=True,
        help_text="How long its waiting streams get no status line; inf: never early. Empty: the knob's.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(tenant__isnull=True, admin__isnull=False)
                | Q(tenant__isnull=False, admin__isnull=True),
                name="api_token_is_a_tenants_or_an_admins",
            ),
            models.UniqueConstraint(
                fields=["tenant", "name"],
                condition=Q(revoked_at__isnull=True, tenant__isnull=False),
                name="api_token_name_once_per_tenant",
            ),
            models.CheckConstraint(condition=Q(hold_status_s__gte=0), name="api_token_holds_from_0"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last4}"


class UsageRecord(models.Model):
    """How one accepted request went. Written in batches by COPY, once per key.

    The key is fixed when the request is accepted, and the table is cut into
    months by it (``gateway/retention.py``). Names instead of foreign keys: a
    record outlives its tenant and backend, and the writer looks nothing up.
    """

    pk = models.CompositePrimaryKey("accepted_at", "request_id")
    accepted_at = models.DateTimeField()
    request_id = models.CharField(max_length=64)
    client_request_id = models.CharField(
        max_length=128, blank=True, default="", help_text="The client's own x-request-id; no key."
    )
    trace_id = models.CharField(
        max_length=32, blank=True, default="", help_text="Of the client's traceparent."
    )
    queued_at = models.DateTimeField(null=True)
    dispatched_at = models.DateTimeField(null=True)
    first_token_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField()
    tenant = models.CharField(max_length=63)
    user_hash = models.CharField(max_length=32, blank=True, default="")
    api_token_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=200)
    pool = models.CharField(max_length=63, blank=True, default="")
    backend = models.CharField(max_length=63, blank=True, default="")
    priority_class = models.CharField(max_length=50)
    endpoint = models.CharField(max_length=50)
    stream = models.BooleanField()
    prompt_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    estimated_tokens = models.BigIntegerField(default=0, help_text="Cost tokens thought at arrival.")
    estimated = models.BooleanField(default=False, help_text="The engine did not report the tokens.")
    outcome = models.CharField(max_length=30)
    status = models.PositiveSmallIntegerField(help_text="The HTTP status sent; 499 when the client left.")
    attempt = models.PositiveSmallIntegerField(default=1)
    policy_revision = models.PositiveBigIntegerField(default=0)
    cost = models.BigIntegerField(default=0, help_text="Cost tokens charged: prompt + 2 x completion.")
    spend = models.BigIntegerField(
        default=0,
        help_text="Micro-units of money, at the prices of the time; of a lost request, the estimate.",
    )

    class Meta:
        ordering = ["-accepted_at", "-request_id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome__in=[str(outcome) for outcome in Outcome]), name="usage_outcome_is_known"
            ),
            models.CheckConstraint(
                condition=Q(prompt_tokens__gte=0, completion_tokens__gte=0, cached_tokens__gte=0),
                name="usage_tokens_from_0",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "accepted_at"], name="usage_by_tenant_and_time"),
            # What went wrong is looked for, and rare.
            models.Index(
                fields=["outcome", "accepted_at"],
                condition=~Q(outcome=str(Outcome.OK)),
                name="usage_gone_wrong",
            ),
            # Records are stored about in the order in which they end, so a few bytes a megabyte will do.
            BrinIndex(fields=["ended_at"], autosummarize=True, name="usage_by_end"),
        ]

    def __str__(self) -> str:
        return self.request_id


class UsageTotal(models.Model):
    """The records of one hour or day of acceptance, summed by tenant, model and API token."""

    at = models.DateTimeField(help_text="The beginning of the hour or day, in UTC.")
    tenant = models.CharField(max_length=63)
    model = models.CharField(max_length=200)
    api_token_id = models.BigIntegerField(help_text="0 without one.")
    requests = models.BigIntegerField()
    ok_requests = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    counted_tokens = models.BigIntegerField(
        help_text="What counts against budgets: of a lost request the estimate."
    )
    cost = models.BigIntegerField()
    spend = models.BigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.tenant} {self.model} {self.at:%Y-%m-%d %H:%M}"


class UsageArrival(UsageTotal):
    """Sums, by hour, of records that were stored lately; Celery adds them to the hours and days.

    Written in the transaction that stores the records, so that the totals
    count each record once, however late it comes.
    """


class UsageHour(UsageTotal):
    """Sums by hour, without the arrivals. Kept for as long as records are."""

    pk = models.CompositePrimaryKey("at", "tenant", "model", "api_token_id")

    class Meta:
        indexes = [models.Index(fields=["tenant", "at"], name="usage_hour_by_tenant")]


class UsageDay(UsageTotal):
    """Sums by day, without the arrivals. Kept for ever."""

    pk = models.CompositePrimaryKey("at", "tenant", "model", "api_token_id")


class HourlyUsage(UsageTotal):
    """A view: hours and arrivals. A total may come in several rows, so only sums of them mean something."""

    pk = models.CompositePrimaryKey("at", "tenant", "model", "api_token_id")

    class Meta:
        managed = False
        db_table = "gateway_hourly_usage"


class DailyUsage(UsageTotal):
    """A view: days and arrivals, likewise."""

    pk = models.CompositePrimaryKey("at", "tenant", "model", "api_token_id")

    class Meta:
        managed = False
        db_table = "gateway_daily_usage"
