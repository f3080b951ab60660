"""Run TensorZero's HTTP gateway until a signal. Runs in TensorZero's own environment."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tensorzero import _start_http_gateway


def main() -> None:
    """Arguments: the configuration, and a file for the port, which the gateway chooses itself."""
    config, port_file = sys.argv[1], Path(sys.argv[2])
    gateway = _start_http_gateway(
        config_file=config, clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
    )
    fresh = port_file.with_suffix(".new")
    fresh.write_text(str(urlsplit(gateway.base_url).port), encoding="ascii")
    fresh.rename(port_file)
    signal.pause()


if __name__ == "__main__":
    main()
