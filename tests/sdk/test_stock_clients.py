"""Stock clients before the product's gateway: everything that a user of theirs may see."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace

import pytest

from tests.fakes.speaker import VECTOR
from tests.fakes.voices import FAULT, MODEL, TEXT, TOOL, WORDS
from tests.sdk.clients import CLIENTS, HOW, Client, that_can, those
from tests.sdk.matrix import SERVERS_DO, THROUGH_US, WITHOUT_US, WRITE, Matrix, column
from tests.sdk.stage import BRISK, NARROW, SPENT, Stage, until

REQUIRE = "FAIRLANE_REQUIRE_SDK"
AT_ONCE_S = 0.5  # 20 ms on an idle machine; several processes have to run in between
CALLED = [[TOOL, {"city": "Paris"}]]
BROKEN = ("fault", "end_early", "break_off", "close")
HALF = "one two"
REFUSED = re.compile(rb"^HTTP/1.1 429 ", re.MULTILINE)
BLANKS = re.compile(rb"\r\n\r\n[0-9a-f]+\r\n\s+\r\n")  # the first chunk of an answer
COMMENT = re.compile(rb": queued position=1\b")


every_client = those(CLIENTS)


@pytest.mark.parametrize("matrix", [THROUGH_US, WITHOUT_US], ids=["clients", "servers"])
def test_the_page_speaks_of_the_versions_that_are_locked(matrix: Matrix) -> None:
    if WRITE in os.environ:
        pytest.skip("the page is being written")
    rows = matrix.documented()
    assert list(rows) == list(matrix.rows.values())
    assert {tuple(cells) for cells in rows.values()} == {tuple(map(column, CLIENTS))}, HOW


@every_client
def test_a_client_is_here_to_be_tried(client: Client) -> None:
    """The other tests leave out one that is not. With ``REQUIRE`` in the environment that is a failure."""
    if client.missing:
        (pytest.fail if os.environ.get(REQUIRE) else pytest.skip)(client.missing)


@those(that_can("models"))
def test_the_models_that_there_are_are_listed(stage: Stage) -> None:
    assert stage.do("models") == {"models": [MODEL, NARROW]}
    stage.see("models")


@every_client
def test_an_answer_is_whole(stage: Stage) -> None:
    told = stage.do("ask")
    assert told["text"] == TEXT
    assert told.get("tokens", len(WORDS)) == len(WORDS)
    stage.see("whole")


@every_client
def test_a_stream_comes_word_by_word(stage: Stage) -> None:
    told = stage.do("stream")
    assert told["text"] == TEXT
    assert told.get("pieces", len(WORDS)) == len(WORDS)
    stage.see("stream")


@those([client for client in CLIENTS if client.name != "llm"])
def test_a_stream_ends_with_its_usage(stage: Stage) -> None:
    assert stage.do("stream", usage=True)["tokens"] == len(WORDS)
    stage.see("usage")


@every_client
@pytest.mark.parametrize(("verb", "row"), [("ask", "tools"), ("stream", "tools_streamed")])
def test_a_tool_is_called_with_its_arguments(stage: Stage, verb: str, row: str) -> None:
    assert stage.do(verb, "tool")["tools"] == CALLED
    stage.see(row)


@those(that_can("embed"))
def test_a_text_becomes_a_vector(stage: Stage) -> None:
    assert stage.do("embed") == {"vector": VECTOR}
    stage.see("embed")


@those(that_can("count"))
def test_tokens_are_counted_without_an_answer(stage: Stage) -> None:
    assert stage.do("count") == {"tokens": 7}
    stage.see("count")


@those(that_can("respond"))
def test_the_responses_api_answers(stage: Stage) -> None:
    assert stage.do("respond") == {"text": TEXT, "tokens": len(WORDS)}
    stage.see("respond")


@those(that_can("respond"))
def test_the_responses_api_streams(stage: Stage) -> None:
    told = stage.do("respond_streamed")
    assert (told["text"], told["pieces"], told.get("open", False)) == (TEXT, len(WORDS), False)
    stage.see("respond_streamed")


def once(stage: Stage) -> str:
    return "ok" if stage.attempts == 1 else f"asks {stage.attempts} times"


@every_client
def test_a_wrong_api_token_is_an_error_at_once(stage: Stage) -> None:
    error = stage.driver.do("ask", **stage.on_wire(key="fl_wrong"))["error"]
    assert error["status"] in (401, None)
    assert "API token" in error["message"]
    stage.see("unauthenticated", once(stage))


@every_client
def test_an_unknown_model_is_an_error_at_once(stage: Stage) -> None:
    error = stage.driver.do("stream", **stage.on_wire(model="gpt-7"))["error"]
    assert error["status"] in (404, None)
    assert "/v1/models" in error["message"]
    stage.see("unknown_model", once(stage))


@every_client
@pytest.mark.parametrize("verb", ["ask", "stream"])
def test_what_the_engine_has_against_a_request_is_told_in_its_words(stage: Stage, verb: str) -> None:
    error = stage.driver.do(verb, **stage.on_wire("refuse"))["error"]
    assert error["status"] in (400, None)
    assert "maximum context length" in error["message"]
    stage.see("refused", once(stage))


@every_client
def test_a_spent_minute_is_waited_out_as_long_as_it_was_told(stage: Stage) -> None:
    house = stage.house
    wire = house.wire
    with house.spent(BRISK, lambda: REFUSED.search(wire.said)):
        while not REFUSED.search(wire.said):  # it may be the client that takes what came back a moment ago
            told = stage.driver.do("ask", **stage.on_wire(key=house.secrets[BRISK]))
            assert told["text"] == TEXT
    (wait_ms,) = re.findall(rb"retry-after-ms: (\d+)", wire.said)[-1:]
    took_ms = (wire.asked_s[-1] - wire.asked_s[-2]) * 1000
    assert took_ms > int(wait_ms) - 5  # by their own rules they would wait half a second at most, or two
    stage.see("rate_limited", "ok" if took_ms < int(wait_ms) + 700 else "waits by its own rule")


@every_client
def test_a_spent_budget_is_not_asked_again(stage: Stage) -> None:
    error = stage.driver.do("ask", **stage.on_wire(key=stage.house.secrets[SPENT], retries=1))["error"]
    assert error["status"] in (429, None)
    assert "tokens per day" in error["message"]
    stage.see("exhausted", once(stage))


@every_client
@pytest.mark.parametrize(("verb", "row"), [("stream", "wait"), ("ask", "wait_whole")])
def test_whoever_waits_in_line_gets_the_whole_answer(stage: Stage, verb: str, row: str) -> None:
    house = stage.house
    with house.full():
        stage.driver.begin(verb, **stage.on_wire(model=NARROW))
        until(house.someone_waits)
        if verb == "stream":
            until(lambda: len(COMMENT.findall(house.wire.said)) >= 2)
    assert stage.driver.result()["text"] == TEXT
    assert stage.attempts == 1
    stage.see(row)


@every_client
def test_blanks_before_an_answer_that_waits_do_no_harm(stage: Stage) -> None:
    house = stage.house
    with house.full():
        headers = {"x-keepalive": "whitespace"}
        stage.driver.begin("ask", **stage.on_wire(model=NARROW, headers=headers))
        until(lambda: BLANKS.search(house.wire.said))
    assert stage.driver.result()["text"] == TEXT
    stage.see("wait_blanks")


@every_client
def test_a_client_that_leaves_in_mid_stream_stops_the_engine_at_once(stage: Stage) -> None:
    house, before = stage.house, stage.house.ended("client_gone_streaming")
    left_s = stage.driver.do("leave", **stage.on_wire("hold", model=NARROW))["left_s"]
    visit = house.speaker.visits[-1]
    until(lambda: house.wire.left_s)
    until(lambda: visit.hung_up_s)
    assert visit.hung_up_s - max(left_s, house.wire.left_s) < AT_ONCE_S
    until(lambda: house.ended("client_gone_streaming") == before + 1)
    with house.full():
        pass  # the seat is free
    stage.see("leaves")


@every_client
def test_a_client_that_leaves_the_line_is_never_dispatched(stage: Stage) -> None:
    house, before = stage.house, stage.house.ended("client_gone_queued")
    with house.full():
        stage.driver.begin("leave_in_line", **stage.on_wire("say", model=NARROW))
        until(house.someone_waits)
        stage.leave_now.touch()
        until(lambda: house.wire.left_s)
        until(lambda: not house.someone_waits())
        took_s = time.monotonic() - house.wire.left_s
        asked = len(house.speaker.visits)
        until(lambda: house.ended("client_gone_queued") == before + 1)
    stage.driver.result()
    assert took_s < AT_ONCE_S
    assert len(house.speaker.visits) == asked
    stage.see("leaves_line")


@every_client
def test_an_engine_that_dies_in_mid_stream_never_looks_like_a_whole_answer(stage: Stage) -> None:
    told = stage.do_until_held("stream", "hold_die")
    assert "error" in told, told
    stage.see("dies")


@every_client
def test_an_engine_that_dies_in_a_whole_answer_is_an_error(stage: Stage) -> None:
    told = stage.do("ask", "die", retries=0)
    assert "broke off" in told["error"]["message"]
    stage.see("dies_whole")


@every_client
def test_an_engines_error_in_mid_stream_is_raised(stage: Stage) -> None:
    told = stage.do_until_held("stream", "hold_fault")
    stage.see("fault", "ok" if FAULT in told["error"]["message"] else "raised without the engine's words")


@every_client
@pytest.mark.parametrize("scene", SERVERS_DO)
def test_what_clients_make_of_other_servers_is_known(stage: Stage, scene: str) -> None:
    """They ask the engine itself. Where one takes half for whole, the gateway must not stream like that."""
    stage = replace(stage, matrix=WITHOUT_US)
    told = stage.do("stream", scene, url=stage.house.speaker.url, retries=0)
    if scene in BROKEN:
        assert "error" in told or told["text"].strip() == HALF
        stage.see(scene, "raises" if "error" in told else "takes half for whole")
    elif "error" in told:
        stage.see(scene, "raises")
    else:
        assert told["text"] == TEXT
        stage.see(scene)
