"""The forms of every alias and every model's fallbacks, one of which may have been refused."""

from __future__ import annotations

from dashboard.engine_forms import AliasForm, FallbacksForm, targets_text
from dashboard.forms import ConsoleForm
from scheduling import selectors, services


def route_forms(refused: ConsoleForm | None = None) -> dict[str, ConsoleForm | list[ConsoleForm]]:
    """The context of the page's routes; the refused form stands where its row's was."""
    return {
        "alias_forms": _with(refused, _alias_forms()),
        "fallback_forms": _with(refused, _fallback_forms()),
        "new_alias_form": AliasForm(auto_id="alias_%s"),
    }


def _alias_forms() -> list[ConsoleForm]:
    return [
        AliasForm(
            auto_id=f"alias{row.pk}_%s",
            initial={
                "name": row.name,
                "targets": targets_text(services.targets_of(row)),
                "fallbacks": ", ".join(services.fallbacks_of(row)),
            },
        ).changing()
        for row in selectors.aliases()
    ]


def _fallback_forms() -> list[ConsoleForm]:
    return [
        FallbacksForm(
            auto_id=f"model{row.pk}_%s",
            initial={"name": row.name, "fallbacks": ", ".join(services.fallbacks_of(row))},
        )
        for row in selectors.served_models()
    ]


def _with(refused: ConsoleForm | None, forms: list[ConsoleForm]) -> list[ConsoleForm]:
    return [
        refused
        if refused and type(refused) is type(form) and refused["name"].value() == form["name"].value()
        else form
        for form in forms
    ]
