"""What the gateways are asked to do."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.load import shapes
from benchmarks.load.run import Scenario

LONG_PROMPT_BYTES = 400_000
MOST_TRACE_CHUNKS = 400  # a run of a second or two should see streams end

_rows, TRACE = shapes.trace()
PLAIN = Scenario("plain64", 64, slices=4)
READY = Scenario("ready", 1)

SCENARIOS = (
    Scenario("idle1000", 1_000, stream=True, ramp_s=1.0, idle=True),  # first, while memory is fresh
    PLAIN,
    Scenario("plain1", 1),
    Scenario("plain8", 8, slices=4),
    Scenario("plain1000", 1_000, ramp_s=0.5),
    Scenario("plain@100", 16, rate=100),
    Scenario("plain@1000", 32, rate=1_000),
    Scenario("plain400k", 16, prompt_bytes=(LONG_PROMPT_BYTES,)),
    Scenario("plain1600k", 16, prompt_bytes=(4 * LONG_PROMPT_BYTES,)),
    Scenario(
        "trace64",
        64,
        stream=True,
        chunks=[min(MOST_TRACE_CHUNKS, row.completion_tokens) for row in _rows],
        prompt_bytes=[row.prompt_tokens * shapes.CHARS_PER_TOKEN for row in _rows],
    ),
    Scenario("sse0_64", 64, stream=True, slices=4),
    Scenario("sse10_100", 100, stream=True, gap_ms=10, ramp_s=0.3),
    Scenario("sse@100", 128, stream=True, gap_ms=10, rate=100),
    Scenario("sse50_1500", 1_500, stream=True, gap_ms=50, ramp_s=1.0),
    Scenario("sse50_3000", 3_000, stream=True, gap_ms=50, ramp_s=2.0),
    replace(PLAIN, name="capped", only=("fairlane", "fairlane-narrow")),
    replace(PLAIN, name="records", only=("fairlane", "fairlane-no-records")),
    replace(PLAIN, name="tenants10k", only=("fairlane", "fairlane-10k")),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
SHORT = ("idle1000", "plain64", "sse0_64", "sse10_100")
ABOUT = {
    "plain64": "64 clients, each asks again as soon as it has its answer; 300-byte request, 700-byte answer",
    "plain1": "the same with 1 client",
    "plain8": "the same with 8 clients",
    "plain1000": "the same with 1,000 clients",
    "plain@100": "100 requests a second at fixed times, whatever the answers do",
    "plain@1000": "1,000 requests a second at fixed times",
    "plain400k": "16 clients with prompts of 400 KB",
    "plain1600k": "16 clients with prompts of 1.6 MB",
    "trace64": f"64 clients, streams; lengths of prompts and answers: {TRACE}",
    "sse0_64": "64 clients, streams of 64 chunks, each chunk its own write, back to back",
    "sse10_100": "100 clients, streams of 64 chunks, 10 ms apart",
    "sse@100": "100 streams a second begun at fixed times, each of 64 chunks, 10 ms apart",
    "sse50_1500": "1,500 clients, streams at 20 tokens a second each",
    "sse50_3000": "3,000 clients, streams at 20 tokens a second each",
    "idle1000": "1,000 streams that stand still after their first token",
    "capped": "plain64 where the backend takes 8 at once: 56 clients always wait in the queue",
    "records": "plain64 with usage records written to PostgreSQL, and kept in the journal alone",
    "tenants10k": "plain64 with 10,000 tenants and API tokens in force instead of 16",
}
