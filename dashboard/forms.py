"""Forms of the console. They only shape input; the services decide what is right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Self

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from scheduling import selectors
from scheduling.core import policy
from scheduling.quotas import FOR_NOBODY, LEAST_QUOTA, REFUSE, WAIT, written_quota
from scheduling.services import MOST_BOOST_MINUTES, Conflict, Missing

Choices = list[tuple[str, str]]

NEVER = "never"
LIVES = (("30", "30 days"), ("90", "90 days"), ("365", "1 year"), (NEVER, "never"))


def spoken(names: tuple[str, ...]) -> Choices:
    """Names of the code as choices that people read."""
    return [(name, name.replace("_", " ")) for name in names]


def _classes() -> Choices:
    return [(row.name, row.name) for row in selectors.classes()]


def _tenants() -> Choices:
    return [(row.slug, row.slug) for row in selectors.tenants()]


def _models() -> Choices:
    return [(row.name, row.name) for row in selectors.served_models()]


class ConsoleForm(forms.Form):
    """A form whose last word is a service's."""

    use_required_attribute = True

    def changing(self, but: str = "") -> Self:
        """Of what there is already: it remembers what it showed, and submits only what is changed in it.

        So what another admin changed in the meantime stays. What is in the field ``but`` is what it
        is called, whatever is posted.
        """
        for name, field in self.fields.items():
            field.disabled = name == but
            field.show_hidden_initial = not field.disabled
        return self

    def choices_as_shown(self) -> SafeString:
        """What ``changing`` remembers of choices that are drawn one by one; other fields bring it along."""
        drawn = (field for field in self if isinstance(field.field.widget, forms.RadioSelect))
        remembered = (
            (field.as_hidden(only_initial=True),) for field in drawn if field.field.show_hidden_initial
        )
        return format_html_join("", "{}", remembered)

    def submit(self, service: Callable[..., Any]) -> Any:
        """What the service returns; None when the form has errors, which it then shows."""
        if not self.is_valid():
            return None
        shown = {name for name in self.fields if self.add_initial_prefix(name) in self.data}
        untouched = shown.difference(self.changed_data)
        try:
            return service(**{name: value for name, value in self.values().items() if name not in untouched})
        except ValidationError as error:
            self._show(error)
        except (Conflict, Missing) as error:
            self.add_error(None, str(error))
        return None

    def values(self) -> dict[str, Any]:
        """The cleaned input as the service's arguments."""
        return dict(self.cleaned_data)

    def _show(self, error: ValidationError) -> None:
        found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, texts in found.items():
            for text in texts:
                self.add_error(name if name in self.fields else None, text)


QUOTA_RANGE: dict[str, Any] = {
    "min_value": LEAST_QUOTA,
    "max_value": policy.MAX_QUOTA,
    "error_messages": {"min_value": f"Give at least {LEAST_QUOTA}. {FOR_NOBODY}"},
}


def _limit(help_text: str = "") -> forms.IntegerField:
    text = f"{help_text} Empty: no limit.".strip()
    return forms.IntegerField(required=False, help_text=text, **QUOTA_RANGE)


class QuotaFields(forms.Form):
    """Limits by kind; an empty field is no limit."""

    requests_per_minute = _limit("More wait until it refills.")
    tokens_per_minute = _limit("More wait until it refills.")
    in_flight = _limit("Seats held at once.")
    queued = _limit("Requests waiting at once.")
    tokens_per_day = _limit("UTC days.")
    tokens_per_month = _limit("UTC months.")
    spend_per_month = _limit("Micro-units of money.")

    def with_quotas(self, data: dict[str, Any]) -> dict[str, Any]:
        """The input with quotas as one mapping, without the empty ones."""
        limits = {kind: data[kind] for kind in policy.QUOTA_KINDS if data[kind] is not None}
        others = {name: value for name, value in data.items() if name not in policy.QUOTA_KINDS}
        return {**others, "quotas": limits}


class TenantForm(ConsoleForm, QuotaFields):
    """A new tenant."""

    slug = forms.SlugField(max_length=63, help_text="Short name in API, records and metrics. It stays.")
    name = forms.CharField(max_length=200, required=False, help_text="The name people see.")
    weight = forms.IntegerField(
        min_value=1, max_value=1000, initial=1, help_text="Share under contention, 1 to 1000."
    )
    priority_class = forms.ChoiceField(label="Class", choices=_classes, initial=policy.DEFAULT_CLASS)
    field_order = ("slug", "name", "weight", "priority_class", *policy.QUOTA_KINDS)

    def values(self) -> dict[str, Any]:
        """Quotas as one mapping."""
        return self.with_quotas(self.cleaned_data)


class TenantSettingsForm(ConsoleForm):
    """What may change about a tenant, besides its weight, quotas and state."""

    name = forms.CharField(max_length=200)
    priority_class = forms.ChoiceField(label="Class", choices=_classes)


class BoostForm(ConsoleForm):
    """A boost of a tenant's weight, with its end."""

    factor = forms.IntegerField(
        min_value=2, max_value=policy.MAX_BOOST, initial=2, help_text="So many times the weight counts."
    )
    minutes = forms.IntegerField(
        min_value=1, max_value=MOST_BOOST_MINUTES, initial=15, help_text="Then it ends by itself."
    )


class QuotaForm(ConsoleForm):
    """One limit of a tenant, set or changed."""

    kind = forms.ChoiceField(choices=spoken(policy.QUOTA_KINDS))
    model = forms.ChoiceField(required=False, choices=lambda: [("", "all models"), *_models()])
    limit = forms.IntegerField(**QUOTA_RANGE)
    when_exhausted = forms.ChoiceField(
        required=False,
        label="When used up",
        choices=[(WAIT, "requests wait"), (REFUSE, "requests are refused")],
        help_text="For a minute's quota. Days and months refuse, seats wait.",
    )

    def values(self) -> dict[str, Any]:
        """The quota as it is written."""
        data = self.cleaned_data
        waits = data["when_exhausted"] != REFUSE or data["kind"] not in policy.MINUTE_KINDS
        quota = written_quota(data["limit"], waits=waits)
        return {"kind": data["kind"], "model": data["model"], "quota": quota}


class TokenForm(ConsoleForm, QuotaFields):
    """A new API token."""

    tenant = forms.ChoiceField(choices=_tenants)
    name = forms.CharField(max_length=100, help_text="What it is for, such as ci or notebook.")
    life = forms.ChoiceField(label="Expires after", choices=LIVES, initial="90")
    class_ceiling = forms.ChoiceField(
        label="Best class",
        required=False,
        choices=lambda: [("", "any"), *_classes()],
        help_text="Requests by this API token go no better than this class.",
    )
    models = forms.MultipleChoiceField(
        required=False,
        choices=lambda: [*_models(), *((row.name, row.name) for row in selectors.aliases())],
        help_text="What it may ask for. Choose none for all models.",
    )
    hold_status_s = forms.CharField(
        label="Status line after",
        max_length=30,
        required=False,
        help_text="Seconds until a stream in line gets 200; 0: at once, inf: never. "
        "Empty: FAIRLANE_HOLD_STATUS_S.",
    )
    field_order = ("tenant", "name", "life", "class_ceiling", "models", "hold_status_s", *policy.QUOTA_KINDS)

    def values(self) -> dict[str, Any]:
        """The life as a moment, and quotas as one mapping."""
        data = self.with_quotas(self.cleaned_data)
        life = data.pop("life")
        return {**data, "class_ceiling": data["class_ceiling"] or None, "expires_at": _end(life)}


def _end(life: str) -> datetime | None:
    return None if life == NEVER else timezone.now() + timedelta(days=int(life))
