"""What the simulated gateway reads of its engines, predicts for them, and tells the scheduler."""

from __future__ import annotations

from scheduling.simulation.control import ReadEngine
from scheduling.simulation.scenario import EngineSpec, Scenario, Span
from scheduling.simulation.simulate import Simulation, play
from tests.unit.simulation.small import a_workload, asks


def test_engines_are_read_once_a_second_but_not_in_a_blackout(monkeypatch):
    answers = []
    for name in ("page", "nothing"):
        real = getattr(ReadEngine, name)

        def spy(self, *args, real=real, name=name):
            answers.append((name, int(args[-1])))
            return real(self, *args)

        monkeypatch.setattr(ReadEngine, name, spy)
    workload = a_workload(*asks(1, completion=400), blackouts=(Span(2_000, 4_000),), reads_engines=True)

    play(Scenario(workload))

    assert answers[:5] == [
        (what, n * 1000) for n, what in enumerate(["page"] * 2 + ["nothing"] * 2 + ["page"])
    ]


def test_the_time_per_token_is_kept_near_its_target():
    arrivals = asks(500, every_ms=40, completion=200)
    engine = EngineSpec(max_num_seqs=256, max_in_flight=256, speed=0.2)
    workload = a_workload(*arrivals, engines=(engine,))

    free, guarded = (
        play(Scenario(workload, admission="first_token_window", tpot_target_ms=target))
        for target in (None, 65)
    )

    def per_token_ms(run):
        last = run.served[-50:]
        return sum((one.ended_ms - one.first_token_ms) / 199 for one in last) / len(last)

    assert per_token_ms(guarded) < 75 < 85 < per_token_ms(free)


def test_an_oracle_is_told_how_long_answers_will_be_and_others_predict():
    workload = a_workload(*asks(3, every_ms=2_000, completion=7))
    seen = {}
    for knows in (True, False):
        simulation = Simulation(Scenario(workload, knows_lengths=knows))
        submit = simulation._front.scheduler.submit
        seen[knows] = tokens = []

        def spy(ticket, now_ms, submit=submit, tokens=tokens):
            tokens.append(ticket.completion_tokens)
            return submit(ticket, now_ms)

        simulation._front.scheduler.submit = spy
        simulation.run()

    assert seen == {True: [7, 7, 7], False: [256, 7, 7]}


def test_a_scheduler_that_charges_while_tokens_come_hears_of_them_four_times_a_second():
    simulation = Simulation(Scenario(a_workload(*asks(1, completion=100)), fairness="vtc"))
    heard = []
    progress = simulation._front.scheduler.progress
    simulation._front.scheduler.progress = lambda *said: heard.append(said) or progress(*said)

    run = simulation.run()

    assert [at_ms for _, _, at_ms in heard] == [250, 500, 750, 1000]
    tokens = [count for _, count, _ in heard]
    assert tokens == sorted(tokens)
    assert 0 < tokens[0] < tokens[-1] < run.served[0].completion_tokens == 100
