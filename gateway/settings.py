"""What an admin may turn about the data plane, read from the knobs once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Settings:
    """One field per knob of the same name; units are in the names."""

    body_bytes: int = 10 * 1024 * 1024
    body_read_s: float = 30.0
    hold_status_s: float = 5.0
    comment_every_s: float = 10.0
    queue_timeout_s: float = 600.0
    slow_client_s: float = 30.0
    policy_stale_s: float = 3600.0
    max_requests: int = 10_000
    bodies_bytes: int = 2 * 1024 * 1024 * 1024
    passed_paths: str = ""
    json_levels: int = 64
    json_values: int = 300_000
    most_messages: int = 4096
    most_choices: int = 128
    most_logprobs: int = 20
    most_completion_tokens: int = 1_000_000
    status_per_s: float = 20.0
    retry_ratio: float = 0.2
    retry_floor: int = 10
    idempotency_s: float = 86_400.0
    idempotency_entries: int = 10_000
    idempotency_bytes: int = 64 * 1024 * 1024
    file_bytes: int = 200 * 1024 * 1024
    tenant_files_bytes: int = 2 * 1024 * 1024 * 1024
    file_keep_s: float = 30 * 86400.0
    upload_read_s: float = 600.0
    tenant_uploads: int = 8
    open_batches: int = 100

    @classmethod
    def from_knobs(cls, knobs: Mapping[str, Any]) -> Self:
        """Take the values of ``config.knobs.read_all()``."""
        return cls(**{name: knobs[f"FAIRLANE_{name.upper()}"] for name in cls.__slots__})
