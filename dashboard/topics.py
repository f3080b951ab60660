"""What a page watches: its topic, and the board that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from dashboard.boards import backend, backends, overview, queues, tenants
from dashboard.boards.board import Board
from dashboard.sources import Scene


@dataclass(frozen=True, slots=True)
class Topic:
    """One live page. ``name`` is the pool or the tenant, ``page`` and ``search`` a part of a list."""

    kind: str = "shell"
    name: str = ""
    search: str = ""
    page: int = 1

    @property
    def query(self) -> str:
        """The topic as the query string of the live socket's URL."""
        return urlencode({"on": self.kind, "name": self.name, "q": self.search, "page": self.page})

    @classmethod
    def parse(cls, query: str) -> Topic:
        """The topic of a query string. Raises ValueError for one that does not exist."""
        found = {key: values[0] for key, values in parse_qs(query).items()}
        topic = cls(
            found.get("on", "shell"), found.get("name", ""), found.get("q", ""), int(found.get("page", 1))
        )
        if topic.kind not in _BUILDERS or topic.page < 1:
            raise ValueError(f"unknown topic {query!r}")
        return topic


def board_of(topic: Topic, scene: Scene) -> Board:
    """The board a topic shows of this scene."""
    return _BUILDERS[topic.kind](topic, scene)


def listed_tenants(scene: Scene, search: str) -> list[str]:
    """The tenants whose slug has the search text in it, by slug."""
    return [slug for slug in sorted(scene.policy.tenants) if search.casefold() in slug]


def _shell(topic: Topic, scene: Scene) -> Board:
    return Board()


def _overview(topic: Topic, scene: Scene) -> Board:
    return overview.build(scene.policy, scene.picture, scene.states, scene.moment)


def _queue(topic: Topic, scene: Scene) -> Board:
    return queues.build(scene.policy, scene.picture, topic.name, scene.moment.now_s)


def _tenants(topic: Topic, scene: Scene) -> Board:
    begin = (topic.page - 1) * tenants.PAGE_ROWS
    slugs = listed_tenants(scene, topic.search)[begin : begin + tenants.PAGE_ROWS]
    return tenants.build(scene.policy, scene.picture, slugs, scene.moment.now_s)


def _tenant(topic: Topic, scene: Scene) -> Board:
    return tenants.build_one(scene.policy, scene.picture, topic.name, scene.moment.now_s)


def _backends(topic: Topic, scene: Scene) -> Board:
    return backends.build(scene.policy, scene.picture, scene.states, scene.moment)


def _backend(topic: Topic, scene: Scene) -> Board:
    return backend.build(scene.policy, scene.picture, scene.states, topic.name, scene.moment)


_BUILDERS: dict[str, Callable[[Topic, Scene], Board]] = {
    "shell": _shell,
    "overview": _overview,
    "queue": _queue,
    "tenants": _tenants,
    "tenant": _tenant,
    "backends": _backends,
    "backend": _backend,
}
