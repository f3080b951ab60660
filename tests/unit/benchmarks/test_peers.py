"""The other gateways are pinned by hash, and no lock names where packages come from."""

from __future__ import annotations

import json

import pytest

from benchmarks import peers
from benchmarks.gateways import PEERS
from benchmarks.gateways.base import Place
from benchmarks.peers.__main__ import INSTALLERS
from benchmarks.scenarios import ABOUT, BY_NAME, SHORT


@pytest.mark.parametrize("name", peers.PYTHON_PEERS)
def test_a_python_peers_lock_has_hashes_and_names_no_index(name: str) -> None:
    lines = (peers.LOCKS / f"{name}.lock").read_text().splitlines()

    assert any("--hash=sha256:" in line for line in lines)
    assert [line for line in lines if "://" in line or line.startswith("-")] == []


@pytest.mark.parametrize("name", peers.NODE_PEERS)
def test_a_node_peers_lock_has_hashes_and_names_no_registry(name: str) -> None:
    packages = json.loads((peers.LOCKS / name / "package-lock.json").read_text())["packages"]

    assert [key for key, each in packages.items() if key and "integrity" not in each] == []
    assert "://" not in json.dumps(packages)


def test_every_gateway_can_be_installed_by_its_name() -> None:
    assert set(INSTALLERS) == set(PEERS)


@pytest.mark.parametrize("name", PEERS)
def test_every_gateway_is_pointed_at_the_engine(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.gateways.proxies.program", lambda name, _mend: name)
    place = Place(port=18080, folder=tmp_path, engine_port=19090)
    gateway = PEERS[name]()

    line = [str(word) for word in gateway.command(place)]

    written = " ".join([*line, *(path.read_text() for path in tmp_path.iterdir())])
    asked = "" if name != "portkey" else str(gateway.targets(place, 1)[0].headers)
    assert "19090" in written + asked


def test_every_scenario_is_explained_and_the_short_ones_exist() -> None:
    assert set(ABOUT) == set(BY_NAME)
    assert set(SHORT) <= set(BY_NAME)
