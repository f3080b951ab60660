"""Forms of backends, pools, models, aliases and policies."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from dashboard import laws
from dashboard.forms import Choices, ConsoleForm, spoken
from scheduling import selectors
from scheduling.core import policy
from scheduling.services import NO_SEATS

PRICES = ("prompt", "cached", "completion")
TARGET = re.compile(r"^(?P<model>.+?)(?:\s*=\s*|\s+)(?P<weight>\d+)$")


def _pools() -> Choices:
    return [(row.name, row.name) for row in selectors.pools()]


def _price(of: str) -> forms.IntegerField:
    return forms.IntegerField(
        required=False, min_value=0, label=f"Price of {of}", help_text="Micro-units per million. Empty: free."
    )


def _cost_weight(kind: str) -> forms.IntegerField:
    label = f"Cost of a {kind} token"
    return forms.IntegerField(label=label, min_value=1, max_value=100, help_text="In cost tokens, 1 to 100.")


def _listed(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


class BackendForm(ConsoleForm):
    """A backend, new or changed."""

    name = forms.SlugField(max_length=63, help_text="It stays: readings and records carry it.")
    pool = forms.ChoiceField(choices=_pools)
    url = forms.CharField(
        max_length=500, label="URL", help_text="http://host:port, with a base path if it has one."
    )
    engine = forms.ChoiceField(
        choices=spoken(policy.ENGINES),
        help_text="The connect test finds out. openai: any other, without metrics.",
    )
    max_in_flight = forms.IntegerField(
        required=False,
        min_value=1,
        error_messages={"min_value": NO_SEATS},
        label="Most in flight",
        help_text=f"Empty: as the engine says, {policy.DEFAULT_MAX_IN_FLIGHT} until it does.",
    )
    models = forms.CharField(
        required=False, help_text="Served models by comma. Empty: every model of its pool."
    )
    kv_tokens = forms.IntegerField(
        required=False,
        min_value=1,
        label="KV memory, tokens",
        help_text="Empty: as the engine says; else nothing is reserved.",
    )
    poll_every_ms = forms.IntegerField(
        required=False,
        min_value=100,
        max_value=60_000,
        label="Read metrics every, ms",
        help_text="100 to 60000. Empty: FAIRLANE_POLL_EVERY_S.",
    )
    priority_order = forms.ChoiceField(
        required=False,
        label="Priority numbers",
        choices=[("", "the engine's usual"), *spoken(policy.PRIORITY_ORDERS)],
        help_text="vLLM serves low numbers first, SGLang high ones unless its flag says low.",
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
        data["models"] = _listed(data["models"])
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


class FallbacksForm(ConsoleForm):
    """Who takes over for a model."""

    name = forms.CharField(max_length=200, widget=forms.HiddenInput)
    fallbacks = forms.CharField(
        required=False, help_text="Served models by comma; the first that a backend can serve takes over."
    )

    def values(self) -> dict[str, Any]:
        """Fallbacks as a list."""
        return {"model": self.cleaned_data["name"], "fallbacks": _listed(self.cleaned_data["fallbacks"])}


class AliasForm(ConsoleForm):
    """An alias, new or changed."""

    name = forms.CharField(max_length=200, help_text="A name of its own that clients ask for.")
    targets = forms.CharField(
        help_text="Served models with weights, like: llama=95, llama-next=5. 0: none now."
    )
    fallbacks = forms.CharField(required=False, help_text="Served models by comma, tried in this order.")

    def clean_targets(self) -> dict[str, int]:
        """Targets as a mapping."""
        return targets_of(self.cleaned_data["targets"])

    def values(self) -> dict[str, Any]:
        """Fallbacks as a list."""
        return {**self.cleaned_data, "fallbacks": _listed(self.cleaned_data["fallbacks"])}


class PolicyForm(ConsoleForm):
    """How a pool shares and admits."""

    fairness = forms.ChoiceField(choices=spoken(policy.FAIRNESS))
    prompt_weight = _cost_weight("prompt")
    completion_weight = _cost_weight("completion")
    cached_discount_percent = forms.IntegerField(
        label="Discount for cached prompt tokens, %",
        min_value=0,
        max_value=100,
        help_text="Where the engine reports them. 0: they cost as all others.",
    )
    admission = forms.ChoiceField(
        label="Admission law", choices=laws.choices(laws.LAWS), widget=forms.RadioSelect
    )
    window_requests = forms.IntegerField(
        label="Window", min_value=1, max_value=128, help_text="Requests per backend without a first token."
    )
    engine_queue_target_requests = forms.IntegerField(
        label="Engine queue target", min_value=0, help_text="Requests to leave waiting inside an engine."
    )
    tpot_target_ms = forms.IntegerField(
        label="Target per output token, ms",
        required=False,
        min_value=1,
        help_text="Empty: no guard; 150 under its own law.",
    )
    kv_fill_percent = forms.IntegerField(
        label="KV memory to reserve, %",
        min_value=0,
        max_value=100,
        help_text="Of an engine's, 50 to 100. 0: no reservation.",
    )
    counts_sent = forms.BooleanField(
        required=False,
        label="Count what was sent since the reading",
        help_text="Under the queue target: no herd between two readings.",
    )
    stale = forms.ChoiceField(
        label="When metrics are stale", choices=laws.choices(laws.STALE), widget=forms.RadioSelect
    )
    prefix_slack_requests = forms.IntegerField(
        label="Prefix slack",
        required=False,
        min_value=0,
        max_value=64,
        help_text="So many more requests than at the least busy backend may wait for a first token where a "
        "prompt's beginning is known. Empty: prompts are not compared.",
    )
    engine_priority = forms.ChoiceField(
        label="Engine priority", choices=laws.choices(laws.ENGINE_PRIORITY), widget=forms.RadioSelect
    )

    GROUPS = (
        ("Sharing", ("fairness", "prompt_weight", "completion_weight", "cached_discount_percent")),
        ("Admission", ("admission",)),
        (
            "",
            (
                "window_requests",
                "engine_queue_target_requests",
                "tpot_target_ms",
                "kv_fill_percent",
                "counts_sent",
            ),
        ),
        ("Stale metrics", ("stale",)),
        ("Routing", ("prefix_slack_requests",)),
        ("Engine priority", ("engine_priority",)),
    )

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """The fields as the page shows them, under their headings."""
        return [(title, [self[name] for name in names]) for title, names in self.GROUPS]


def targets_of(text: str) -> dict[str, int]:
    """What "llama=95, llama-next=5" says. Raises ValidationError with the mend."""
    targets: dict[str, int] = {}
    for part in _listed(text):
        found = TARGET.match(part)
        if found is None:
            raise ValidationError(f"{part!r} has no weight. Write it like llama=95, llama-next=5.")
        if found["model"] in targets:
            raise ValidationError(f"{found['model']} is named twice. Name each once.")
        targets[found["model"]] = int(found["weight"])
    return targets


def targets_text(targets: dict[str, int]) -> str:
    """The same as text."""
    return ", ".join(f"{model}={weight}" for model, weight in targets.items())
