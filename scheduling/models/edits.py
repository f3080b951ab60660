"""What admins did: the revision in force, the audit, and commands to the gateways."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q


class Revision(models.Model):
    """The number of the rules in force. One row; every write adds one."""

    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="revision_has_one_row")]

    def __str__(self) -> str:
        return str(self.number)


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
