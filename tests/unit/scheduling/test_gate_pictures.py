"""What may be seen of a gate that was cut off, or starts slowly."""

from __future__ import annotations

from scheduling.core.admission import Gate
from scheduling.core.circuit import Circuit
from scheduling.core.limits import Limit
from scheduling.core.policy import BackendRule, PoolRule


def gate() -> Gate:
    made = Gate("gpu-0")
    made.obey(BackendRule("gpu-0", "main", frozenset({"llama"})), PoolRule("main"), frozenset({"llama"}))
    return made


def test_an_open_circuit_says_when_the_next_request_tries() -> None:
    circuit = Circuit()
    assert circuit.retry_in_ms(1_000) is None

    circuit.open(1_000)

    assert [circuit.retry_in_ms(at) for at in (1_000, 1_300, 1_999, 2_000)] == [1_000, 700, 1, None]


def test_a_gate_shows_its_circuit_and_that_it_starts_slowly_after_a_restart() -> None:
    shown = gate()
    shown.move(Limit("gpu-0", 3, 32, "window holds", 1, 1.0), 1_000, None)
    assert (shown.view(1_000).slow_start, shown.view(1_000).retry_in_ms) == (False, None)

    shown.move(Limit("gpu-0", 3, 32, "restarted", 2, 2.0), 2_000, None)
    assert shown.view(2_000).slow_start
    shown.move(Limit("gpu-0", 3, 32, "nobody answers", 2, 3.0, down=True), 3_000, None)
    seen = shown.view(3_400)
    assert (seen.circuit, seen.retry_in_ms) == ("open", 600)
