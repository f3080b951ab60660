"""What it raises to read JSON that somebody else wrote."""

from __future__ import annotations

import msgspec

# The last is what a thousand lists in each other come to, which an engine may well repeat.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
