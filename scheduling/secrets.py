"""The engines' own API keys, kept under a key that is made from the installation's secret key."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

KEY_BYTES = 32  # what Fernet wants
PURPOSE = b"fairlane: API keys of backends"


class Unreadable(Exception):
    """The stored API key was sealed under another secret key. Enter it again."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def seal(text: str) -> bytes:
    """The text, encrypted and signed. Empty stays empty."""
    return _fernet().encrypt(text.encode()) if text else b""


def unseal(sealed: bytes) -> str:
    """The text that was sealed.

    Raises Unreadable when ``FAIRLANE_SECRET_KEY`` is not the one it was sealed under.
    """
    if not sealed:
        return ""
    try:
        return _fernet().decrypt(sealed).decode()
    except InvalidToken:
        raise Unreadable from None


def _fernet() -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=PURPOSE)
    return Fernet(base64.urlsafe_b64encode(derived.derive(settings.SECRET_KEY.encode())))
