"""How an API token looks: a prefix, 190 random bits, and a checksum that exposes a typing error."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

INFERENCE = "fl_"
ADMIN = "fla_"

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 32  # 62 ** 32 is 190 bits; at least 160 are promised
LEAST_CHARACTERS = 27  # 62 ** 27 is just above 160 bits
CHECKSUM_CHARACTERS = 6  # 62 ** 6 holds a CRC-32
SHOWN_RANDOM_CHARACTERS = 3  # enough to tell two apart, too few to help a guess

_SHAPE = re.compile(rf"(?:fl|fla)_[0-9A-Za-z]{{{LEAST_CHARACTERS},64}}_[0-9A-Za-z]{{{CHECKSUM_CHARACTERS}}}")


def generate(prefix: str = INFERENCE) -> str:
    """A new secret. It is shown once and never stored."""
    body = prefix + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return f"{body}_{_checksum(body)}"


def well_formed(secret: str) -> bool:
    """Whether this can be an API token at all: its shape and checksum, without any lookup."""
    if not _SHAPE.fullmatch(secret):
        return False
    body, _, checksum = secret.rpartition("_")
    return _checksum(body) == checksum


def prefix_of(secret: str) -> str:
    """``fl_`` for inference, ``fla_`` for the control API."""
    return secret[: secret.index("_") + 1]


def shown(secret: str) -> tuple[str, str]:
    """The beginning and the end by which people recognise a token they hold."""
    return secret[: len(prefix_of(secret)) + SHOWN_RANDOM_CHARACTERS], secret[-4:]


def digest(secret: str) -> bytes:
    """What is stored instead of the secret. So many random bits need no pepper and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
