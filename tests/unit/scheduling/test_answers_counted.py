"""How long a backend took to begin its answers: counted at its gate, and what law ``gradient`` goes by."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from scheduling.control_step import Moment, Told, next_states
from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, dispatched, policy, ticket


def counted(machine: Scheduler) -> tuple[int, int]:
    gate = machine.begin_period(0)[0]
    return gate.answered, gate.answer_ms


def test_first_tokens_are_counted_from_the_dispatch_once_and_in_their_period():
    machine = Scheduler(POOL, policy(seats=2))
    for n, at_ms in enumerate((100, 300, 400)):
        machine.submit(ticket(f"acme-{n}"), at_ms)
    machine.start("acme-0", 600)
    machine.start("acme-0", 900)
    machine.start("acme-1", 1_000)
    assert (machine.view(1_000).backends[0].answered, machine.view(1_000).backends[0].answer_ms) == (2, 1_200)
    assert counted(machine) == (2, 1_200)
    assert counted(machine) == (0, 0)

    assert dispatched(machine.finish("acme-0", 100, 2_000)) == ["acme-2"]
    machine.start("acme-2", 2_050)
    machine.start("acme-1", 2_060)

    assert counted(machine) == (1, 50)  # it waited in line until 2,000


def test_a_whole_answer_counts_when_it_comes_in_the_window_or_not():
    for running in (None, 0, 1):
        machine = Scheduler(POOL, policy(seats=2, admission="first_token_window"))
        machine.set_limit(Limit("gpu-0", 3, 2, "read", 0, 1.0, running, 1.0), 0, 0)
        machine.submit(ticket("acme-0", streams=False), 100)
        machine.set_limit(Limit("gpu-0", 3, 2, "read", 0, 2.0, running, 2.0), 200, 200)
        machine.start("acme-0", 900)
        machine.finish("acme-0", 100, 950)

        assert counted(machine) == (1, 800)


def test_a_request_that_nothing_was_heard_of_counts_nothing():
    machine = Scheduler(POOL, policy(seats=2))
    machine.submit(ticket("acme-0"), 100)
    machine.finish("acme-0", 0, 900, refund=True)
    machine.start("acme-0", 950)

    assert counted(machine) == (0, 0)


class Engine:
    """One under law ``gradient``: a gateway's machine, its counts and a controller, a step a second."""

    def __init__(self) -> None:
        rules = policy(seats=64, admission="gradient")
        backends = {name: replace(rule, engine="openai") for name, rule in rules.backends.items()}
        self.policy = replace(rules, backends=backends)
        self.machine = Scheduler(POOL, self.policy)
        self.told, self.states = Told(), {}
        self.now_ms, self.names, self.running = 0, count(), []
        for _ in range(200):
            self.ask()

    def ask(self) -> None:
        self.running += dispatched(self.machine.submit(ticket(f"acme-{next(self.names)}"), self.now_ms))

    def second(self, first_token_ms: int) -> int:
        """All who run are answered, the first token after so long; the cap that follows."""
        self.now_ms += first_token_ms
        for name in self.running:
            self.machine.start(name, self.now_ms)
        self.now_ms += 1_000 - first_token_ms
        self.told.look(self.machine.begin_period(self.now_ms))
        load = EngineLoad("gpu-0", self.now_ms / 1000 + 1_000)
        moment = Moment(self.now_ms / 1000 + 1_000, stale_after_s=10.0)
        self.states = next_states(self.states, [load], self.policy, self.told.counts, moment)
        self.told.used("gpu-0")
        ended, self.running = self.running, []
        events = self.machine.set_limit(self.states["gpu-0"].limit(), self.now_ms)
        for name in ended:
            self.ask()
            events += self.machine.finish(name, 100, self.now_ms)
        self.running += dispatched(events)
        return self.states["gpu-0"].limit().cap


def test_law_gradient_lets_more_in_while_first_tokens_come_as_ever_and_fewer_when_they_are_late():
    engine = Engine()

    quick = [engine.second(100) for _ in range(30)]
    assert quick[0] < quick[10] < quick[20] < quick[29]
    late = [engine.second(900) for _ in range(5)]

    assert quick[29] > late[0] > late[1] > late[4]
    assert engine.states["gpu-0"].reason.startswith("first tokens after 900 ms")
