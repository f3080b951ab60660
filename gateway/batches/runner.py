"""The jobs worker's part: one slice of whichever batch is due, and then the turn of somebody else."""

from __future__ import annotations

import logging
import mmap
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db.models import Case, Value, When
from django.utils import timezone

from gateway.batches import claims
from gateway.batches.asker import Asker
from gateway.batches.asking import Asking, Pace, unasked
from gateway.batches.checking import Found, Rules, check
from gateway.batches.claims import Claim, ClaimLost
from gateway.batches.files import read_lines
from gateway.batches.finish import finish
from gateway.batches.lines import BadLine
from gateway.batches.models import Batch, StoredFile
from scheduling import selectors
from scheduling.core.policy import IN_FLIGHT, QUEUED
from scheduling.quotas import limits_of
from scheduling.services import quotas_of

log = logging.getLogger(__name__)

FAULT_PAUSE = timedelta(seconds=30)
ANSWER_MARGIN_S = 60.0  # beyond the longest that a gateway lets an answer take

# One byte that the worker's children share with it: a worker that stops hears of it, its children do not.
_stopping = mmap.mmap(-1, 1)


@dataclass(frozen=True, slots=True)
class Options:
    """How batches are run, from the knobs."""

    url: str
    in_flight: int
    share_percent: int
    slice_s: float
    claim_s: float
    at_once: int
    most_requests: int
    most_line_bytes: int
    answer_s: float

    @classmethod
    def from_knobs(cls, knobs: Mapping[str, Any]) -> Self:
        """The values of ``config.knobs.read_all()``."""
        return cls(
            url=knobs["FAIRLANE_GATEWAY_URL"],
            in_flight=knobs["FAIRLANE_BATCH_IN_FLIGHT_REQUESTS"],
            share_percent=knobs["FAIRLANE_BATCH_SHARE_PERCENT"],
            slice_s=knobs["FAIRLANE_BATCH_SLICE_S"],
            claim_s=knobs["FAIRLANE_BATCH_CLAIM_S"],
            at_once=knobs["FAIRLANE_RUNNING_BATCHES"],
            most_requests=knobs["FAIRLANE_BATCH_REQUESTS"],
            most_line_bytes=knobs["FAIRLANE_BODY_BYTES"],
            answer_s=knobs["FAIRLANE_QUEUE_TIMEOUT_S"]
            + knobs["FAIRLANE_FIRST_BYTE_TIMEOUT_S"]
            + ANSWER_MARGIN_S,
        )


def run_slice() -> bool:
    """Work on the batch that is due next, for one slice; False when there is none for us."""
    if stopping():
        return False
    options = Options.from_knobs(settings.KNOBS)
    claim = claims.claim(socket.gethostname(), options.at_once, options.claim_s)
    if claim is None:
        return False
    try:
        _advance(claim, options)
    except ClaimLost:
        log.warning("batch %s was taken over by another worker, or deleted", claim.batch)
    except Exception:
        log.exception("batch %s: a slice failed", claim.batch)
        claim.release(not_before=timezone.now() + FAULT_PAUSE, waits_for="a fault: see the worker's log")
    return True


def stop() -> None:
    """Let every slice of this worker end within seconds."""
    _stopping[0] = 1


def stopping() -> bool:
    """Whether this worker stops."""
    return bool(_stopping[0])


def _advance(claim: Claim, options: Options) -> None:
    if claim.batch.status == Batch.Status.VALIDATING:
        _validate(claim, options)
        if claim.batch.status == Batch.Status.IN_PROGRESS and claims.is_behind(claim.batch):
            claim.release()
            return
    batch = claim.batch
    if batch.status == Batch.Status.IN_PROGRESS and timezone.now() < batch.expires_at and not batch.errors:
        _ask(claim, options)
    elif batch.is_open:
        finish(claim)


def _validate(claim: Claim, options: Options) -> None:
    """Read the file once; it becomes a batch in progress, or a failed one."""
    found = _check(claim, options)
    with claim.writing() as batch:
        if batch.status != Batch.Status.VALIDATING:
            return  # it was cancelled meanwhile
        batch.errors, batch.model = found.errors, found.model
        if not found.errors:
            batch.total, batch.in_progress_at = found.total, timezone.now()
            batch.status = Batch.Status.IN_PROGRESS
        batch.save(update_fields=["errors", "model", "total", "in_progress_at", "status"])


def _check(claim: Claim, options: Options) -> Found:
    batch = claim.batch
    file = StoredFile.objects.filter(public_id=batch.input_file_id).first()
    if file is None:
        found = Found()
        found.wrong(BadLine("file_not_found", "The input file is gone.", "input_file_id"))
        return found
    policy = selectors.policy()
    rules = Rules(
        batch.endpoint, {*policy.models, *policy.routes}, options.most_requests, options.most_line_bytes
    )
    texts = claim.keeping(read_lines(file, options.most_line_bytes))
    return check((text for text, _ in texts), rules)


def _ask(claim: Claim, options: Options) -> None:
    batch = claim.batch
    file = StoredFile.objects.get(public_id=batch.input_file_id)
    source = unasked(batch, file)
    asking = Asking(claim, source, Asker(options.url, options.answer_s), _pace(batch, options), stopping)
    asking.run()
    if asking.refused:
        _refuse(claim)
    if asking.refused or asking.ended:
        finish(claim)
        return
    if (pause_s := asking.pause_s) > 0:
        asks = When(status=Batch.Status.IN_PROGRESS, then=Value(timezone.now() + timedelta(seconds=pause_s)))
        # One that was cancelled at the last moment has nothing to wait for.
        claim.release(not_before=Case(asks), waits_for=asking.reason, **asking.mark)
    else:
        claim.release(not_before=None, waits_for="", **asking.mark)


def _pace(batch: Batch, options: Options) -> Pace:
    """So many at once that the tenant's other requests keep their part of its seats and its line."""
    own, _ = limits_of(batch.api_token.quotas)
    its, _ = limits_of(quotas_of(batch.tenant))
    limits = [quotas[kind] for quotas in (own, its) for kind in (IN_FLIGHT, QUEUED) if kind in quotas]
    most = min([options.in_flight, *(limit * options.share_percent // 100 for limit in limits)])
    return Pace(max(1, most), options.slice_s, options.share_percent)


def _refuse(claim: Claim) -> None:
    """The API token died under the batch."""
    told = "The API token that made the batch was revoked or has expired."
    with claim.writing() as batch:
        batch.errors = [{"code": "invalid_api_key", "message": told, "param": None, "line": None}]
        batch.save(update_fields=["errors"])
