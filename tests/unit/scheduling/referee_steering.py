"""What an admin does, as the referee plays it."""

from __future__ import annotations

from tests.unit.scheduling.referee_rules import Rules


class Steering(Rules):
    """The inputs of an admin."""

    def pause(self, tenant: str | None) -> None:
        self.desk.pool_paused |= tenant is None
        self.desk.paused |= {tenant} if tenant else set()
        self._check(self.machine.pause(tenant, self.now))

    def resume(self, tenant: str | None) -> None:
        if tenant is None:
            self.desk.pool_paused = False
        self.desk.paused.discard(tenant or "")
        self._check(self.machine.resume(tenant, self.now))

    def boost(self, tenant: str, factor: int, until_ms: int) -> None:
        self.boosts[tenant] = (factor, until_ms)
        self._check(self.machine.boost(tenant, factor, until_ms, self.now))

    def hold(self, request_id: str) -> None:
        if request_id in self.waiting:
            self.desk.held.add(request_id)
        self._check(self.machine.hold(request_id, self.now))

    def release(self, request_id: str) -> None:
        self.desk.held.discard(request_id)
        self._check(self.machine.release(request_id, self.now))

    def move_to_front(self, request_id: str) -> None:
        if request_id in self.waiting:
            self.desk.first.add(request_id)
        self._check(self.machine.move_to_front(request_id, self.now))
