"""Everything that can be set about one simulated engine, and the flags that set it."""

from __future__ import annotations

import argparse
import os
import ssl
from dataclasses import dataclass, field, fields
from typing import Any

from scheduling.simulation.engine.faults import FaultKind, parse_fault
from scheduling.simulation.engine.profiles import DEFAULT_PROFILE, PROFILES, StepCosts
from scheduling.simulation.engine.request import EngineConfig, SchedulingPolicy

ORCA = ("asked", "always", "never")  # when whole answers tell the engine's load in a header
DEFAULT_MODEL_LEN = 8192  # tokens, unless the KV memory holds fewer


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How one engine is run. None means: what the profile says. Raises ValueError that names the field."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free port
    model: str = "sim"
    aliases: tuple[str, ...] = ()  # other names that it serves the model under
    profile: str = DEFAULT_PROFILE
    time_scale: float = 1.0
    max_num_seqs: int = 64
    scheduling_policy: str = SchedulingPolicy.FCFS
    max_num_batched_tokens: int = 2048
    kv_tokens: int | None = None
    block_size: int = 16
    max_model_len: int | None = None
    max_num_queued_reqs: int | None = None
    eos: float | None = None  # mean answer length; None: answers are exactly max_tokens long
    orca: str = "asked"
    failures: tuple[str, ...] = ()
    api_key: str = field(default="", repr=False)
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    keep_alive_s: float = 5.0  # as vLLM: an idle connection is closed after this
    seed: int = 0

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"profile {self.profile!r} is unknown: choose one of {', '.join(PROFILES)}")
        if self.time_scale <= 0:
            raise ValueError("time_scale must be above 0: 1 is real time, 10 is ten times faster")
        if self.orca not in ORCA:
            raise ValueError(f"orca is {self.orca!r}: it must be one of {', '.join(ORCA)}")
        if self.eos is not None and self.eos < 1:
            raise ValueError("eos is the mean length of an answer in tokens: at least 1")
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise ValueError("ssl_certfile and ssl_keyfile go together: give both or none")
        for failure in self.failures:
            parse_fault(failure)
        self.engine_config()

    def engine_config(self) -> EngineConfig:
        """The limits of the engine."""
        kv_tokens = self.kv_tokens if self.kv_tokens is not None else PROFILES[self.profile].kv_tokens
        whole_blocks = kv_tokens // max(1, self.block_size) * max(1, self.block_size)
        return EngineConfig(
            max_num_seqs=self.max_num_seqs,
            scheduling_policy=SchedulingPolicy(self.scheduling_policy),
            max_num_batched_tokens=self.max_num_batched_tokens,
            kv_tokens=kv_tokens,
            block_size=self.block_size,
            max_model_len=self.max_model_len or min(DEFAULT_MODEL_LEN, whole_blocks),
            max_num_queued_reqs=self.max_num_queued_reqs,
        )

    def costs(self) -> StepCosts:
        """What its steps cost, in the time that passes outside."""
        return PROFILES[self.profile].faster(self.time_scale)

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS, when a certificate is given; raises ValueError when it cannot be used."""
        if not self.ssl_certfile:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
        except OSError as error:
            raise ValueError(
                f"ssl_certfile {self.ssl_certfile} with ssl_keyfile {self.ssl_keyfile} cannot be used "
                f"({error.strerror}): give a certificate and its key in PEM"
            ) from None
        return context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``manage.py engine``; names as vLLM's where vLLM has them."""
    add = parser.add_argument
    add("--port", type=int, required=True, help="TCP port; 0 takes a free one")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--model", default="sim", help="served model name")
    add("--alias", dest="aliases", action="append", default=[], help="another name for it, repeatable")
    add("--profile", default=DEFAULT_PROFILE, choices=sorted(PROFILES), help="GPU and model to behave like")
    add("--time-scale", type=float, default=1.0, help="10 is ten times faster than real")
    add("--max-num-seqs", type=int, default=64, help="most requests that run at once")
    add("--scheduling-policy", default="fcfs", choices=list(SchedulingPolicy), help="order of those waiting")
    add("--max-num-batched-tokens", type=int, default=2048, help="most tokens in one step")
    add("--kv-tokens", type=int, help="KV memory in tokens; default: the profile's")
    add("--block-size", type=int, default=16, help="tokens per KV block")
    add("--max-model-len", type=int, help="most tokens of prompt and answer; default: 8192 or the KV memory")
    add("--max-num-queued-reqs", type=int, help="503 above this many in flight; default: no limit")
    add("--eos", type=float, help="mean answer length in tokens; default: exactly max_tokens")
    add("--orca", default="asked", choices=ORCA, help="load in the headers of whole answers")
    add(
        "--fail",
        dest="failures",
        action="append",
        default=[],
        metavar="KIND[:NUMBER][@RATE][*TIMES]",
        help=f"a failure to show, repeatable: {', '.join(FaultKind)}",
    )
    add("--api-key-env", default="", help="environment variable that holds the key clients must send")
    add("--ssl-certfile", default="", help="certificate in PEM, for https")
    add("--ssl-keyfile", default="", help="its private key in PEM")
    add("--seed", type=int, default=0, help="of answer lengths and failures")


def from_flags(flags: dict[str, Any]) -> EngineOptions:
    """Options from parsed flags; raises ValueError that names the flag and the mend."""
    names = {option.name for option in fields(EngineOptions)}
    values = {name: value for name, value in flags.items() if name in names}
    values |= {name: tuple(flags[name]) for name in ("aliases", "failures")}
    if variable := flags["api_key_env"]:
        values["api_key"] = os.environ.get(variable, "")
        if not values["api_key"]:
            raise ValueError(f"--api-key-env: the environment variable {variable} is empty or not set")
    return EngineOptions(**values)
