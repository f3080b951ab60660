"""Where the embedded PostgreSQL and Valkey keep their data and their sockets."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from config.trouble import Trouble

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
    name = f"fairlane-{os.getuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    for folder in (data / "run", Path(tempfile.gettempdir()) / name):
        if len(os.fsencode(folder)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_BYTES:
            return folder
    return Path("/tmp") / name  # noqa: S108 - make_folders checks whose it is


def valkey_socket(data: Path) -> Path:
    """Where the embedded Valkey listens."""
    return socket_dir(data) / "valkey.sock"


def valkey_url(data: Path) -> str:
    """The URL of the embedded Valkey."""
    return f"unix://{valkey_socket(data)}"


def make_folders(data: Path) -> None:
    """Make the data and socket folders, for this user only. Raises Trouble where that fails."""
    for folder in (data, data / "run", data / "log", data / "static", socket_dir(data)):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner, mode = folder.lstat().st_uid, folder.lstat().st_mode
        except OSError as error:
            raise _not_ours(folder, error) from error
        if owner != os.geteuid():
            raise Trouble(
                f"{folder} belongs to user {owner}, and you are user {os.geteuid()}. Run as that user, "
                f"give it to yourself (chown -R {os.geteuid()} {folder}), "
                "or set FAIRLANE_DATA_DIR to another folder."
            )
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise Trouble(f"{folder} is not writable (mode {mode & 0o777:o}). Mend it: chmod u+rwx {folder}")


def secret_key(data: Path) -> str:
    """The secret key of this installation, made at the first start and kept in the data folder."""
    path = data / "secret_key"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        make_folders(data)
    except OSError as error:
        raise _not_ours(path, error) from error
    key = secrets.token_urlsafe(48)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was first
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise _not_ours(path, error) from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key)
    return key


def _not_ours(path: Path, error: OSError) -> Trouble:
    return Trouble(
        f"Cannot use {path}: {error.strerror}. Run as the user who made it, "
        "or set FAIRLANE_DATA_DIR to a folder that you may write to."
    )
