"""An installation as one file, its secrets, and how commands are run."""

from __future__ import annotations

import io

from django.core.management import call_command

from gateway import tokens

SECRET = tokens.generate("fl_")
ENGINE_KEY = "engine-key-of-gpu-0"

FILE = """
tenants:
  - {slug: research, name: Research, weight: 3, class: standard,
     quotas: {requests_per_minute: 600, in_flight: 64}}
  - {slug: chat, name: Chat product, weight: 1, class: interactive}
models:
  - {name: llama-3.1-8b, pool: main}
backends:
  - {name: gpu-0, pool: main, engine: vllm, url: "http://10.0.0.5:8000",
     max_in_flight: 64, api_key_env: GPU_KEY}
classes:
  - {name: batch, max_wait_s: 300}
policies:
  - {pool: main, fairness: token_fair, engine_queue_target: 3, tpot_target_ms: 150}
tokens:
  - {tenant: chat, name: ci, secret_env: CHAT_TOKEN}
"""


def run(*command: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*command, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()
