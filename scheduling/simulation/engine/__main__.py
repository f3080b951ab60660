"""`python -m scheduling.simulation.engine`: the same as `manage.py engine`, without Django."""

from __future__ import annotations

import argparse
import sys

from scheduling.simulation.engine.options import add_arguments, from_flags
from scheduling.simulation.engine.run import PortTaken, run


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(prog="python -m scheduling.simulation.engine", description=__doc__)
    add_arguments(parser)
    try:
        run(from_flags(vars(parser.parse_args())), _say)
    except (ValueError, PortTaken, OSError) as error:
        parser.error(str(error))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
