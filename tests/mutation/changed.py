"""Which lines of the core are new since a revision: a developer's own, which is where a gap is likely."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

FILE = re.compile(r"\+\+\+ b/(?:.*/)?(.+)")
HUNK = re.compile(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@")


def changed_lines(folder: Path, revision: str) -> defaultdict[str, set[int]]:
    """The numbers, as they are now, of lines that differ from ``revision``, by name of the file.

    What is not committed counts too; a line that is gone leaves no number.
    Ends the program with git's words when it does not know the revision.
    """
    command = [
        "git",
        "diff",
        "--unified=0",
        "--no-color",
        "--no-ext-diff",
        "--src-prefix=a/",
        "--dst-prefix=b/",
    ]
    asked = subprocess.run(
        [*command, revision, "--", "."], check=False, cwd=folder, capture_output=True, text=True
    )
    if asked.returncode:
        raise SystemExit(f"--since {revision}: {asked.stderr.strip()}")
    return numbers_of(asked.stdout)


def numbers_of(difference: str) -> defaultdict[str, set[int]]:
    """The new lines that a difference without context names."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    name = ""
    for line in difference.splitlines():
        if file := FILE.fullmatch(line):
            name = file[1]
        elif hunk := HUNK.match(line):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            found[name].update(range(first, first + count))
    return found
