"""The fixed sample of the mutation run: bugs in decisions, each of which a test must notice."""

from __future__ import annotations

import subprocess
import sys

from tests.mutation.session import ROOT


def test_every_bug_of_the_fixed_sample_is_noticed():
    command = [sys.executable, "-m", "tests.mutation", "--sample"]

    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=1200)

    assert ended.returncode == 0, ended.stdout + ended.stderr
