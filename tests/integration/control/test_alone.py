"""A gateway without a controller: it notices, says so, and reads for itself until there is one again."""

from __future__ import annotations

import time
from dataclasses import replace

from scheduling import control_bus, control_feed
from scheduling.control_bus import GatewayWord
from tests.fakes.pages import page_engine, vllm_page
from tests.fakes.waiting import PATIENCE_S, until
from tests.integration.control.feeds import decided, gate, gateway
from tests.integration.control.known import NOWHERE, counts_in, rules


def warnings(caplog) -> list[str]:
    told = [record for record in caplog.records if record.name == control_feed.__name__]
    return [record.message for record in told if record.levelname == "WARNING"]


async def test_a_dead_controller_is_noticed_within_three_periods(valkey, engine) -> None:
    period_s = 0.8
    async with gateway(engine, period_s) as (_, feed):
        control_bus.save_states(valkey, {"gpu-0": decided(4)})
        died_s = time.time()

        await until(lambda: feed.alone)

        assert 2 * period_s < time.time() - died_s < 3 * period_s + 0.4, "and not at the first late beat"


async def test_a_gateway_that_is_alone_tells_the_console_and_takes_it_back(
    valkey, async_valkey, engine
) -> None:
    async def alone() -> list[str]:
        words = await control_bus.read_words(async_valkey)
        return [name for name, word in words.items() if word.alone]

    async with gateway(engine) as (_, feed):
        await until(lambda: feed.alone)
        await until(lambda: any(word.alone for word in control_bus.load_words(valkey).values()))
        assert await alone() == ["gateway-a"]

        control_bus.save_states(valkey, {"gpu-0": decided(8)})
        valkey.set(control_bus.TICKED, time.time() + 60)
        await until(lambda: not feed.alone)
        await until(lambda: not any(word.alone for word in control_bus.load_words(valkey).values()))
        assert await alone() == []


async def test_nobody_is_warned_of_a_controller_that_is_still_to_start(valkey, engine, caplog) -> None:
    async with gateway(engine) as (_, feed):
        await until(lambda: feed.alone)
        assert not warnings(caplog)

        control_bus.save_states(valkey, {"gpu-0": decided(4)})
        await until(lambda: not feed.alone)
        await until(lambda: feed.alone)
        await until(lambda: warnings(caplog))

    assert warnings(caplog) == ["No word from the controller: this gateway reads the engines itself"]


async def test_a_controller_that_never_starts_is_warned_of_once(valkey, engine, caplog, monkeypatch) -> None:
    monkeypatch.setattr(control_feed, "START_S", 0.3)
    async with gateway(engine) as _:
        await until(lambda: warnings(caplog))
        rounds = len(engine.requests)
        await until(lambda: len(engine.requests) >= rounds + 3)

    assert len(warnings(caplog)) == 1


async def test_an_engine_that_hangs_delays_no_other_while_alone(settings, engine) -> None:
    settings.REDIS_URL = NOWHERE
    engine.page = vllm_page(running=16, waiting=12)
    with page_engine() as hung:
        hung.answer = lambda handler: hung.released.wait(PATIENCE_S)
        policy, endpoints = rules(engine.url)
        slow = {"slow": replace(policy.backends["gpu-0"], name="slow")}
        policy = replace(policy, backends=policy.backends | slow)
        endpoints |= {"slow": replace(endpoints["gpu-0"], backend="slow", url=hung.url)}

        async with gateway(engine, known=(policy, endpoints)) as (dispatcher, _):
            await until(lambda: gate(dispatcher, "gpu-0").window == 1)
            read = len(engine.requests)
            await until(lambda: len(engine.requests) >= read + 3)

            assert len(hung.requests) == 1, "it still has its first thread"


async def test_an_engine_with_a_long_period_is_not_read_each_round_while_alone(settings, engine) -> None:
    settings.REDIS_URL = NOWHERE
    policy, endpoints = rules(engine.url)
    seldom = {"gpu-0": replace(endpoints["gpu-0"], poll_every_ms=3_600_000)}
    with page_engine() as often:
        both = replace(
            policy, backends=policy.backends | {"gpu-1": replace(policy.backends["gpu-0"], name="gpu-1")}
        )
        seldom["gpu-1"] = replace(endpoints["gpu-0"], backend="gpu-1", url=often.url)

        async with gateway(engine, known=(both, seldom)):
            await until(lambda: len(often.requests) >= 4)

    assert 1 <= len(engine.requests) <= 2


async def test_what_a_gateway_holds_back_is_told_until_a_step_has_used_it(valkey, engine) -> None:
    async with gateway(engine, period_s=0.1) as (dispatcher, feed):
        valkey.set(control_bus.TICKED, time.time() + 60)
        await until(lambda: counts_in(valkey))
        blocked = [replace(view, blocked=True) for view in dispatcher.begin_period()]
        feed._told.look(blocked)

        def told() -> bool:
            return counts_in(valkey)["gpu-0"].blocked

        await until(told)
        published = valkey.zscore(control_bus.GATEWAYS, "gateway-a")
        await until(lambda: valkey.zscore(control_bus.GATEWAYS, "gateway-a") > published + 0.2)
        assert told(), "several rounds later"

        control_bus.save_states(valkey, {"gpu-0": decided(4)})
        await until(lambda: feed._own.states)
        control_bus.save_states(valkey, {"gpu-0": decided(4, waiting=1)})
        await until(lambda: not told())


def test_a_word_of_another_version_is_no_word(valkey) -> None:
    valkey.zadd(control_bus.GATEWAYS, {"gateway-a": time.time(), "gateway-b": time.time()})
    valkey.set(control_bus.COUNTS + "gateway-a", b'{"counts": 7}')
    valkey.set(control_bus.COUNTS + "gateway-b", b'{"alone": true}')

    assert control_bus.load_words(valkey) == {"gateway-b": GatewayWord(alone=True)}
