"""PostgreSQL refuses root; both ways around that start it, and one folder serves both."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import embedded, other_user, postgres

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs neither way")


@pytest.fixture
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:  # only root may enter it
        yield Path(folder) / "data"


def test_one_folder_serves_where_user_namespaces_are_allowed_and_where_not(data, monkeypatch):
    for allowed, owned_by_root in ((True, True), (False, False), (True, True)):
        monkeypatch.setattr(other_user, "namespaces_work", lambda allowed=allowed: allowed)
        process = postgres.start(data, durable=False)
        try:
            assert postgres.answers(data)
            assert (postgres.folder(data).stat().st_uid == 0) is owned_by_root
        finally:
            postgres.stop(process)
        assert process.returncode == 0


def test_the_other_user_has_one_capability_and_no_more(data, monkeypatch):
    monkeypatch.setattr(other_user, "namespaces_work", lambda: False)
    process = postgres.start(data, durable=False)
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        postgres.stop(process)

    said = dict(
        line.split(":\t", 1) for line in status.splitlines() if line.startswith(("Cap", "Uid", "Groups"))
    )
    assert int(said["CapEff"], 16) == int(said["CapPrm"], 16) == 1 << other_user.CAP_DAC_OVERRIDE
    assert "0" not in said["Uid"].split()
    assert said["Groups"].split() == []


def test_the_sockets_are_for_us_alone(data):
    process = postgres.start(data, durable=False)
    try:
        assert embedded.socket_dir(data).stat().st_mode & 0o777 == 0o700
    finally:
        postgres.stop(process)
