"""One write: rows, audit, revision and wake-up in one transaction, one writer at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import connection, models, transaction

from scheduling.models import Change, Revision

REVISION_CHANNEL = "fairlane_revision"
COMMAND_CHANNEL = "fairlane_command"

Row = TypeVar("Row", bound=models.Model)


class Missing(LookupError):
    """What should be changed does not exist."""


class Conflict(Exception):
    """The change does not fit the state as it is now. The message says what is in the way."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes something, and why, for the audit."""

    by: str  # admin:NAME, token:NAME, cli, apply
    why: str = ""
    verb: str = "set"


@contextmanager
def writing() -> Iterator[None]:
    """Hold the right to write until the block's transaction ends.

    Every writer locks the one revision row before it reads what it changes,
    so two admins never overwrite each other unseen. A block that records
    nothing makes no revision.
    """
    with transaction.atomic():
        Revision.objects.select_for_update().get(id=1)
        yield


def record(
    noun: str, target: str, stamp: Stamp, *, field: str = "", before: Any = None, after: Any = None
) -> Change:
    """Write one audit row, count the revision up and wake the readers on commit.

    ``before`` and ``after`` are JSON values and never hold a secret.
    """
    change = Change.objects.create(
        revision=_next_revision(),
        by=stamp.by,
        verb=stamp.verb,
        noun=noun,
        target=target,
        field=field,
        before=before,
        after=after,
        why=stamp.why,
    )
    notify(REVISION_CHANNEL)
    return change


def notify(channel: str) -> None:
    """Wake who listens, once the transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [channel])


def find(rows: models.Manager[Row], **key: str) -> Row:
    """The row with this name. Raises Missing."""
    row = rows.filter(**key).first()
    if row is None:
        raise Missing(f"There is no {_called(rows.model)} {next(iter(key.values()))!r}.")
    return row


def referred(field: str, rows: models.Manager[Row], name: str) -> Row:
    """The row that an input field names. Raises ValidationError with the names there are."""
    if row := rows.filter(name=name).first():
        return row
    known = ", ".join(sorted(map(str, rows.all()[:20]))) or "none yet"
    raise ValidationError({field: f"There is no {_called(rows.model)} {name!r}. There is: {known}."})


def save_new(row: Row, *, but: Collection[str] = ()) -> Row:
    """Insert a row that passes its rules. Raises ValidationError by field."""
    clean(row, but=but)
    row.save(force_insert=True)
    return row


def remove(row: models.Model) -> None:
    """Delete a row. Raises Conflict that names what still needs it."""
    name = str(row)
    try:
        row.delete()
    except models.ProtectedError as error:
        users = ", ".join(sorted(f"{_called(type(each))} {each}" for each in error.protected_objects)[:5])
        raise Conflict(f"{name} is still needed by {users}. Change or delete that first.") from None


def set_fields(
    noun: str, row: models.Model, values: Mapping[str, Any], stamp: Stamp, *, target: str = ""
) -> Change | None:
    """Set fields of a row, with one audit row for all that really changed. None: nothing did.

    ``target`` is the row's name in the audit where it is not its text.
    """
    before = {name: plain(getattr(row, name)) for name in values}
    for name, value in values.items():
        setattr(row, name, value)
    clean(row)
    after = {name: plain(getattr(row, name)) for name in values}
    changed = [name for name in values if before[name] != after[name]]
    if not changed:
        return None
    row.save(update_fields=changed)
    return record_fields(
        noun,
        target or str(row),
        stamp,
        {name: before[name] for name in changed},
        {name: after[name] for name in changed},
    )


def record_fields(
    noun: str, target: str, stamp: Stamp, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Change:
    """Record one field as itself, and several as a mapping by field."""
    if len(after) == 1:
        (name,) = after
        return record(noun, target, stamp, field=name, before=before[name], after=after[name])
    return record(noun, target, stamp, before=dict(before), after=dict(after))


def record_difference(
    noun: str, target: str, stamp: Stamp, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Record the fields that differ between a row as it was and as it is; nothing when none does."""
    changed = [name for name in after if after[name] != before[name]]
    if changed:
        record_fields(
            noun,
            target,
            stamp,
            {name: before[name] for name in changed},
            {name: after[name] for name in changed},
        )


def plain(value: Any) -> Any:
    """A value as the audit keeps it: a row by its name, a moment as text."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, models.Model) else value


def clean(row: models.Model, *, but: Collection[str] = ()) -> None:
    """Check a row against its rules. Raises ValidationError with the mend for every field.

    ``but`` names fields that the caller checked by better rules.
    """
    try:
        row.full_clean(exclude=set(but))
    except ValidationError as error:
        raise ValidationError(
            {
                name: [_with_mend(row, name, each) for each in errors]
                for name, errors in error.error_dict.items()
            }
        ) from None


def _with_mend(row: models.Model, name: str, error: ValidationError) -> ValidationError:
    field = {each.name: each for each in type(row)._meta.fields}.get(name)  # noqa: SLF001  # _meta is documented
    if error.code != "invalid_choice" or field is None:
        return error
    known = ", ".join(str(value) for value, _ in field.flatchoices)
    return ValidationError(f"{getattr(row, name)!r} is unknown. Use one of: {known}.", error.code)


def _called(model: type[models.Model]) -> str:
    return str(model._meta.verbose_name)  # noqa: SLF001  # _meta is Django's documented API


def _next_revision() -> int:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE scheduling_revision SET number = number + 1 WHERE id = 1 RETURNING number")
        (number,) = cursor.fetchone()
    return int(number)
