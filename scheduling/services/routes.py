"""Writes about aliases, and about where a model's requests go when nothing serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from django.core.exceptions import ValidationError

from scheduling.core.policy import MAX_WEIGHT
from scheduling.models import Alias, AliasTarget, Fallback, ServedModel
from scheduling.services.edits import Stamp, find, record, record_difference, remove, save_new, writing

Targets = Mapping[str, int]
MOST_NAMES = 32  # in one list: every request for the name may walk it


class AliasFields(TypedDict, total=False):
    """``targets`` maps served models to weights (0..1000), ``fallbacks`` are tried in order."""

    targets: Targets
    fallbacks: Sequence[str]


def create_alias(
    name: str, targets: Targets, *, by: str, why: str = "", fallbacks: Sequence[str] = ()
) -> Alias:
    """Let clients ask for a name that stands for one or several served models."""
    with writing():
        _refuse_taken(name)
        alias = save_new(Alias(name=name))
        _write(alias, {"targets": targets, "fallbacks": fallbacks})
        record("alias", name, Stamp(by, why, "create"), after=_whole(alias))
    return alias


def change_alias(name: str, *, by: str, why: str = "", **fields: Unpack[AliasFields]) -> Alias:
    """Change an alias's targets or fallbacks, for requests that come from now on."""
    return put_alias(name, dict(fields), Stamp(by, why))


def delete_alias(name: str, *, by: str, why: str = "") -> None:
    """Stop serving an alias. The models behind it stay."""
    with writing():
        alias = find(Alias.objects, name=name)
        before = _whole(alias)
        remove(alias)
        record("alias", name, Stamp(by, why, "delete"), before=before)


def set_fallbacks(model: str, fallbacks: Sequence[str], *, by: str, why: str = "") -> ServedModel:
    """Say which served models take over, in this order, while no backend can serve this one."""
    return put_fallbacks(model, fallbacks, Stamp(by, why))


def put_alias(name: str, fields: Mapping[str, Any], stamp: Stamp) -> Alias:
    """Set an alias's lists under any verb of the audit."""
    with writing():
        alias = find(Alias.objects, name=name)
        before = _whole(alias)
        _write(alias, fields)
        after = _whole(alias)
        record_difference("alias", name, stamp, before, after)
    return alias


def put_fallbacks(model: str, fallbacks: Sequence[str], stamp: Stamp) -> ServedModel:
    """Set a model's fallbacks under any verb of the audit."""
    with writing():
        row = find(ServedModel.objects, name=model)
        before = fallbacks_of(row)
        _write_fallbacks(fallbacks, of_model=row)
        if before != list(fallbacks):
            record("model", model, stamp, field="fallbacks", before=before, after=list(fallbacks))
    return row


def refuse_alias_name(name: str) -> None:
    """Raises ValidationError when an alias has the name that a model is to get."""
    if Alias.objects.filter(name=name).exists():
        raise ValidationError({"name": f"{name} is an alias. Delete the alias first, or take another name."})


def targets_of(alias: Alias) -> dict[str, int]:
    """An alias's served models and their weights, by name."""
    return {row.model.name: row.weight for row in alias.target_rows.all()}


def fallbacks_of(row: Alias | ServedModel) -> list[str]:
    """The served models that take over, the first one first."""
    return [each.model.name for each in row.fallback_rows.all()]


def _refuse_taken(name: str) -> None:
    if ServedModel.objects.filter(name=name).exists():
        raise ValidationError({"name": f"{name} is a served model. An alias needs a name of its own."})


def _whole(alias: Alias) -> dict[str, Any]:
    rows = AliasTarget.objects.filter(alias=alias).select_related("model")
    instead = Fallback.objects.filter(of_alias=alias).select_related("model")
    return {
        "targets": {row.model.name: row.weight for row in rows},
        "fallbacks": [row.model.name for row in instead],
    }


def _write(alias: Alias, fields: Mapping[str, Any]) -> None:
    if "targets" in fields:
        _write_targets(alias, fields["targets"])
    if "fallbacks" in fields:
        _write_fallbacks(fields["fallbacks"], of_alias=alias)


def _write_targets(alias: Alias, targets: Targets) -> None:
    rows = _models("targets", list(targets))
    if wrong := [name for name, weight in targets.items() if not 0 <= weight <= MAX_WEIGHT]:
        raise ValidationError(
            {"targets": f"The weight of {', '.join(wrong)} must be 0 to {MAX_WEIGHT}, 0 for none now."}
        )
    if not any(targets.values()):
        raise ValidationError({"targets": "No target gets requests. Give at least one a weight above 0."})
    alias.target_rows.all().delete()
    AliasTarget.objects.bulk_create(
        AliasTarget(alias=alias, model=rows[name], weight=weight) for name, weight in targets.items()
    )


def _write_fallbacks(names: Sequence[str], **of: Any) -> None:
    rows = _models("fallbacks", names)
    owner = of.get("of_model")
    if owner and owner.name in rows:
        raise ValidationError({"fallbacks": f"{owner.name} cannot stand in for itself. Leave it out."})
    Fallback.objects.filter(**of).delete()
    Fallback.objects.bulk_create(
        Fallback(position=position, model=rows[name], **of) for position, name in enumerate(names)
    )


def _models(field: str, names: Sequence[str]) -> dict[str, ServedModel]:
    """The served models of a list. Raises ValidationError that says what is wrong with the list."""
    rows = {row.name: row for row in ServedModel.objects.filter(name__in=names)}
    if unknown := sorted(set(names) - rows.keys()):
        known = ", ".join(ServedModel.objects.values_list("name", flat=True)[:20]) or "none yet"
        raise ValidationError({field: f"There is no served model {', '.join(unknown)}. There is: {known}."})
    if len(rows) < len(names):
        raise ValidationError({field: "A model is named twice. Name each once."})
    if len(names) > MOST_NAMES:
        raise ValidationError({field: f"{len(names)} models are too many. Name at most {MOST_NAMES}."})
    return rows
