"""Which table reads which engine."""

from __future__ import annotations

from scheduling.engines.llamacpp import LLAMACPP
from scheduling.engines.lmdeploy import LMDEPLOY
from scheduling.engines.nvidia import NIM, TRITON, TRTLLM
from scheduling.engines.openai import OLLAMA, OPENAI
from scheduling.engines.sglang import SGLANG
from scheduling.engines.table import Table
from scheduling.engines.tgi import TGI
from scheduling.engines.vllm import VLLM

TABLES = {
    table.engine: table
    for table in (VLLM, SGLANG, TGI, LLAMACPP, TRITON, TRTLLM, NIM, LMDEPLOY, OLLAMA, OPENAI)
}


def table_for(engine: str) -> Table:
    """The engine's table; a name we do not know is read as a server without metrics."""
    return TABLES.get(engine, OPENAI)
