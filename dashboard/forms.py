"""Forms of the console. They only shape input; the services decide what is right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from scheduling import selectors
from scheduling.core import policy
from scheduling.quotas import REFUSE, WAIT, written_quota
from scheduling.services import MOST_BOOST_MINUTES, Conflict, Missing

Choices = list[tuple[str, str]]

NEVER = "never"
PRICES = ("prompt", "cached", "completion")
LIVES = (("30", "30 days"), ("90", "90 days"), ("365", "1 year"), (NEVER, "never"))


def _spoken(names: tuple[str, ...]) -> Choices:
    return [(name, name.replace("_", " ")) for name in names]


def _classes() -> Choices:
    return [(row.name, row.name) for row in selectors.classes()]


def _pools() -> Choices:
    return [(row.name, row.name) for row in selectors.pools()]


def _tenants() -> Choices:
    return [(row.slug, row.slug) for row in selectors.tenants()]


def _models() -> Choices:
    return [(row.name, row.name) for row in selectors.served_models()]


def _price(of: str) -> forms.IntegerField:
    return forms.IntegerField(
        required=False, min_value=0, label=f"Price of {of}", help_text="Micro-units per million. Empty: free."
    )


def _cost_weight(kind: str) -> forms.IntegerField:
    label = f"Cost of a {kind} token"
    return forms.IntegerField(label=label, min_value=1, max_value=100, help_text="In cost tokens, 1 to 100.")


class ConsoleForm(forms.Form):
    """A form whose last word is a service's."""

    use_required_attribute = True

    def submit(self, service: Callable[..., Any]) -> Any:
        """What the service returns; None when the form has errors, which it then shows."""
        if not self.is_valid():
            return None
        try:
            return service(**self.values())
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


def _limit(help_text: str = "") -> forms.IntegerField:
    text = f"{help_text} Empty: no limit.".strip()
    return forms.IntegerField(required=False, min_value=1, max_value=policy.MAX_QUOTA, help_text=text)


class QuotaFields(forms.Form):
    """Limits by kind; an empty field is no limit."""

    requests_per_minute = _limit("More wait for the next minute.")
    tokens_per_minute = _limit("More wait for the next minute.")
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

    kind = forms.ChoiceField(choices=_spoken(policy.QUOTA_KINDS))
    model = forms.ChoiceField(required=False, choices=lambda: [("", "all models"), *_models()])
    limit = forms.IntegerField(min_value=1, max_value=policy.MAX_QUOTA)
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
    field_order = ("tenant", "name", "life", "class_ceiling", *policy.QUOTA_KINDS)

    def values(self) -> dict[str, Any]:
        """The life as a moment, and quotas as one mapping."""
        data = self.with_quotas(self.cleaned_data)
        life = data.pop("life")
        return {**data, "class_ceiling": data["class_ceiling"] or None, "expires_at": _end(life)}


class BackendForm(ConsoleForm):
    """A backend, new or changed."""

    name = forms.SlugField(max_length=63, help_text="It stays: readings and records carry it.")
    pool = forms.ChoiceField(choices=_pools)
    url = forms.CharField(
        max_length=500, label="URL", help_text="http://host:port, with a base path if it has one."
    )
    engine = forms.ChoiceField(choices=_spoken(policy.ENGINES))
    max_in_flight = forms.IntegerField(
        min_value=1, initial=32, label="Most in flight", help_text="Seats at most."
    )
    models = forms.CharField(
        required=False, help_text="Served models by comma. Empty: every model of its pool."
    )
    api_key = forms.CharField(
        required=False,
        label="Engine's API key",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Kept encrypted. Empty: none, or as it is.",
    )
    ca_pem = forms.CharField(
        required=False,
        label="CA certificate",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="PEM. Trust only this one. Empty: the system's.",
    )

    def values(self) -> dict[str, Any]:
        """Models as a list; an API key only when one was typed."""
        data = dict(self.cleaned_data)
        data["models"] = [name.strip() for name in data["models"].split(",") if name.strip()]
        if not data["api_key"]:
            del data["api_key"]
        return data


class PoolForm(ConsoleForm):
    """A new pool."""

    name = forms.SlugField(max_length=63, help_text="Backends that stand in for each other.")


class ModelForm(ConsoleForm):
    """A new served model."""

    name = forms.CharField(max_length=200, help_text="The model name clients ask for.")
    pool = forms.ChoiceField(choices=_pools)
    prompt = _price("prompt tokens")
    cached = _price("prompt tokens from the engine's cache")
    completion = _price("completion tokens")

    def values(self) -> dict[str, Any]:
        """Prices as one mapping, without what is free."""
        data = dict(self.cleaned_data)
        prices = {kind: data.pop(kind) for kind in PRICES}
        return {**data, "prices": {kind: price for kind, price in prices.items() if price}}


class PolicyForm(ConsoleForm):
    """How a pool shares and admits."""

    fairness = forms.ChoiceField(choices=_spoken(policy.FAIRNESS))
    admission = forms.ChoiceField(choices=_spoken(policy.ADMISSION))
    window_requests = forms.IntegerField(
        label="Window", min_value=1, max_value=128, help_text="Requests per backend without a first token."
    )
    engine_queue_target_requests = forms.IntegerField(
        label="Engine queue target", min_value=0, help_text="Requests to leave waiting inside an engine."
    )
    tpot_target_ms = forms.IntegerField(
        label="Target per output token, ms", required=False, min_value=1, help_text="Empty: no guard."
    )
    stale = forms.ChoiceField(
        label="When metrics are stale",
        choices=[("keep", "keep the limits"), ("open", "only the cap"), ("closed", "dispatch nothing")],
    )
    prompt_weight = _cost_weight("prompt")
    completion_weight = _cost_weight("completion")
    cached_discount_percent = forms.IntegerField(
        label="Discount for cached prompt tokens, %",
        min_value=0,
        max_value=100,
        help_text="Where the engine reports them. 0: they cost as all others.",
    )


def _end(life: str) -> datetime | None:
    return None if life == NEVER else timezone.now() + timedelta(days=int(life))
