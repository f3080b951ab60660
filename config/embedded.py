"""Where the embedded PostgreSQL and Valkey keep their data and their sockets."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

DATABASE_NAME = "fairlane"
DATABASE_USER = "fairlane"
SOCKET_PATH_BYTES = 107  # the kernel's limit for a unix socket's path
LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432.lock")


def data_dir() -> Path:
    """The folder of everything that must survive a restart."""
    here = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("FAIRLANE_DATA_DIR") or here / "var").resolve()


def socket_dir(data: Path) -> Path:
    """A folder for unix sockets whose path is short enough for the kernel."""
    inside = data / "run"
    if len(os.fsencode(inside)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_BYTES:
        return inside
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"fairlane-{os.getuid()}-{name}"


def valkey_url(data: Path) -> str:
    """The URL of the embedded Valkey."""
    return f"unix://{socket_dir(data)}/valkey.sock"


def secret_key(data: Path) -> str:
    """The secret key of this installation, made at the first start and kept in the data folder."""
    path = data / "secret_key"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = secrets.token_urlsafe(48)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was first
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key)
    return key
