"""What a web process keeps of the memory that large bodies have left."""

import subprocess
import sys

import pytest

BODY_BYTES = 4 * 1024 * 1024
BODIES = 50
PAGES = BODY_BYTES // 4096

READS_BODIES = f"""
import resource
from config.memory import keep_freed

kept = keep_freed(KEPT)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    b"x" * {BODY_BYTES} + b"x"
before = faults()
for _ in range({BODIES}):
    b"x" * {BODY_BYTES} + b"x"
print(int(kept), faults() - before)
"""


def reads_bodies(kept_bytes: int) -> tuple[bool, int]:
    """Whether the C library listened, and the pages that it had to ask the kernel for."""
    code = READS_BODIES.replace("KEPT", str(kept_bytes))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    kept, faults = done.stdout.split()
    return kept == "1", int(faults)


def test_memory_that_a_large_prompt_left_serves_the_next() -> None:
    kept, faults = reads_bodies(64 * 1024 * 1024)

    if not kept:
        pytest.skip("this C library knows no mallopt")
    assert faults < PAGES  # in 50 bodies fewer pages than one body has


def test_nothing_is_kept_when_an_admin_wants_that() -> None:
    kept, faults = reads_bodies(0)

    assert not kept
    assert faults > BODIES * PAGES
