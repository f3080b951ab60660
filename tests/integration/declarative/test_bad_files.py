"""A file with a mistake is refused by its place, and changes nothing."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from scheduling.models import Change
from tests.integration.declarative.installation import ENGINE_KEY, FILE, run

pytestmark = pytest.mark.django_db

# Each mistake: what of the file, by what it is replaced, and what is said of it.
BAD = {
    "typo": ("weight: 3", "wieght: 3", r"tenants\[0\]\.wieght: unknown. Did you mean weight\?"),
    "unknown key": ("weight: 3", "colour: 3", r"tenants\[0\]\.colour: unknown. Use one of: slug"),
    "unknown section": ("tenants:", "tenant:", r"tenant: unknown. Did you mean tenants\?"),
    "text": ("weight: 3", "weight: heavy", r"tenants\[0\]\.weight: .*integer, not 'heavy'"),
    "boolean": ("weight: 3", "weight: true", r"tenants\[0\]\.weight: .*integer, not True"),
    "range": ("weight: 3", "weight: 0", r"tenants\[0\]\.weight: .*greater than or equal to 1"),
    "too heavy": ("weight: 3", "weight: 2000", r"tenants\[0\]\.weight: .*less than"),
    "class": ("class: interactive", "class: vip", r"tenants\[1\]\.class: .*interactive"),
    "quota kind": ("in_flight: 64}", "gold: 64}", r"tenants\[0\]\.quotas: 'gold'.*in_flight"),
    "quota of 0": ("in_flight: 64}", "in_flight: 0}", r"tenants\[0\]\.quotas: .*suspend the tenant"),
    "quota form": ("in_flight: 64}", "queued: {limt: 4}}", r"quotas\.queued\.limt: .*mean limit"),
    "quota text": ("in_flight: 64}", "queued: many}", r"quotas\.queued\.limit: .*integer, not 'many'"),
    "quota that cannot refuse": (
        "in_flight: 64}",
        "queued: {limit: 4, when_exhausted: refuse}}",
        r"tenants\[0\]\.quotas: when_exhausted is for requests_per_minute",
    ),
    "quota of no model": (
        "in_flight: 64}",
        "queued: 4}, model_quotas: {gpt: {queued: 4}}",
        "no served model 'gpt'",
    ),
    "paused and suspended": (
        "weight: 3",
        "suspended: true, paused: true",
        r"tenants\[0\]\.paused: A tenant is paused or suspended, not both",
    ),
    "boost without an end": ("weight: 3", "boost: {factor: 3}", r"tenants\[0\]\.boost\.until: missing"),
    "boost of 1": (
        "weight: 3",
        "boost: {factor: 1, until: 2026-01-01T00:00:00Z}",
        r"tenants\[0\]\.boost: The factor of a boost is from 2 to 100",
    ),
    "boost typo": ("weight: 3", "boost: {factr: 3}", r"boost\.factr: .*mean factor"),
    "lent seats": ("max_wait_s: 300", "lent_seats: 1", r"classes\[0\]\.lent_seats: .*reserve more"),
    "discount": ("tpot_target_ms: 150", "cached_discount_percent: 101", r"cached_discount_percent: .*100"),
    "alias": ("engine_queue_target: 3", "engine_queue_target: -1", r"policies\[0\]\.engine_queue_target"),
    "fairness": ("fairness: token_fair", "fairness: lifo", r"policies\[0\]\.fairness: .*fifo"),
    "no seats": ("max_in_flight: 64", "max_in_flight: 0", r"backends\[0\]\.max_in_flight: .*drain"),
    "url": ("http://10.0.0.5:8000", "ftp://h", r"backends\[0\]\.url: .*http://"),
    "missing": (', url: "http://10.0.0.5:8000"', "", r"backends\[0\]\.url: missing"),
    "variable": ("CHAT_TOKEN", "NO_SUCH", r"tokens\[0\]\.secret_env: .*NO_SUCH is not set"),
    "secret": ("CHAT_TOKEN", "GPU_KEY", r"tokens\[0\]\.secret_env: GPU_KEY holds no API token"),
    "no secret": (", secret_env: CHAT_TOKEN", "", r"tokens\[0\]\.secret_env: missing"),
    "hold": (
        "secret_env: CHAT_TOKEN",
        "secret_env: CHAT_TOKEN, hold_status_s: -1",
        r"tokens\[0\]\.hold_status_s: Write seconds from 0, or inf for never, not -1\.",
    ),
    "no hold": (
        "secret_env: CHAT_TOKEN",
        "secret_env: CHAT_TOKEN, hold_status_s: soon",
        r"tokens\[0\]\.hold_status_s: Write seconds from 0",
    ),
    "twice": ("slug: chat", "slug: research", r"tenants\[1\]: research is in tenants\[0\]"),
    "key twice": ("weight: 3", "weight: 3, weight: 4", "'weight' is written twice"),
    "syntax": ("tenants:", "tenants: [", "not YAML"),
    "no day": ("weight: 3", "boost: {factor: 3, until: 2027-02-30}", "day is out of range for month"),
    "no name": ("weight: 3", "[weight, name]: 3", "a list or a mapping is no name of a field"),
    "too deep": ("weight: 3", "weight: " + "[" * 3000, "not YAML"),
    "ca": ("api_key_env: GPU_KEY", "ca_file: none.pem", r"backends\[0\]\.ca_file: none.pem cannot be read"),
}


@pytest.mark.parametrize(("old", "new", "says"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_by_place_and_changes_nothing(file, old, new, says) -> None:
    assert old in FILE
    with pytest.raises(CommandError, match=says) as refused:
        run("apply", "-f", file(FILE.replace(old, new)))
    assert ENGINE_KEY not in str(refused.value)
    assert not Change.objects.exists()
