"""How an API token looks."""

from __future__ import annotations

import hashlib

import pytest

from gateway import tokens


@pytest.mark.parametrize("prefix", [tokens.INFERENCE, tokens.ADMIN])
def test_a_generated_secret_is_well_formed_and_new_each_time(prefix: str) -> None:
    secrets = {tokens.generate(prefix) for _ in range(50)}
    assert len(secrets) == 50
    assert all(tokens.well_formed(secret) and tokens.prefix_of(secret) == prefix for secret in secrets)


def test_a_secret_has_at_least_160_random_bits() -> None:
    secret = tokens.generate(tokens.INFERENCE)
    random = secret.split("_")[1]
    assert 62 ** len(random) >= 2**160


def test_any_single_wrong_character_is_noticed() -> None:
    secret = tokens.generate(tokens.ADMIN)
    for place in range(len(secret)):
        other = "B" if secret[place] == "A" else "A"
        assert not tokens.well_formed(secret[:place] + other + secret[place + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "fl_", "sk-proj-1234", "fl_short_000000", "fl_" + "a" * 32, "fl_" + "ä" * 32 + "_000000"],
)
def test_what_is_no_api_token_is_not_well_formed(text: str) -> None:
    assert not tokens.well_formed(text)


def test_white_space_around_a_secret_is_not_forgiven() -> None:
    assert not tokens.well_formed(tokens.generate("fl_") + "\n")


def test_a_secret_is_stored_as_its_sha_256() -> None:
    secret = tokens.generate("fl_")
    assert tokens.digest(secret) == hashlib.sha256(secret.encode()).digest()


def test_what_is_shown_leaves_more_than_140_bits_unknown() -> None:
    """The end is of the checksum, which tells at most 24 bits."""
    secret = tokens.generate("fla_")
    first, last = tokens.shown(secret)
    assert secret.startswith(first)
    assert secret.endswith(last)
    unknown = len(secret.split("_")[1]) - len(first.removeprefix("fla_"))
    assert 62**unknown >= 2 ** (140 + 24)
