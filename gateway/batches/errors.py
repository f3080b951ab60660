"""Why a file or a batch is refused."""

from __future__ import annotations

from gateway.errors import Refused, TooLarge, WrongMethod
from gateway.input_errors import NotForm
from scheduling.core.outcome import Outcome


class FileNotFound(Refused):
    """There is no such file of this tenant. GET /v1/files lists them."""

    status = 404
    type = "invalid_request_error"
    code = "file_not_found"
    outcome = Outcome.INVALID


class BatchNotFound(Refused):
    """There is no such batch of this tenant. GET /v1/batches lists them."""

    status = 404
    type = "invalid_request_error"
    code = "batch_not_found"
    outcome = Outcome.INVALID


class NotMultipart(NotForm):
    """The upload is not valid multipart/form-data with a purpose and a file."""


class StorageFull(TooLarge):
    """The tenant's files take as much room as they may. Delete some of them first."""

    code = "storage_full"


class FileInUse(Refused):
    """A batch that has not ended needs this file. Cancel the batch first."""

    status = 409
    type = "invalid_request_error"
    code = "file_in_use"
    outcome = Outcome.INVALID


class BatchEnded(Refused):
    """The batch has ended already, so it cannot be cancelled."""

    status = 409
    type = "invalid_request_error"
    code = "batch_ended"
    outcome = Outcome.INVALID


class TooManyBatches(Refused):
    """The tenant has as many batches that have not ended as it may."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_batches"
    outcome = Outcome.QUOTA
    retry_after_ms = 60_000


class TooManyUploads(Refused):
    """The tenant uploads as many files at once as it may."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_uploads"
    outcome = Outcome.QUOTA
    retry_after_ms = 5000


class StorageAway(Refused):
    """Files and batches cannot be reached now: the database does not answer. Requests for answers go on."""

    status = 503
    code = "storage_away"
    outcome = Outcome.INTERNAL
    retry_after_ms = 2000


class ListOrNew(WrongMethod):
    """This path takes GET, to list, and POST, to make a new one."""

    allow = b"GET, HEAD, POST"


class ReadOrDelete(WrongMethod):
    """This path takes GET and DELETE."""

    allow = b"GET, HEAD, DELETE"
