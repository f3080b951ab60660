"""What a web process keeps of the memory that large bodies have left.

The C library maps each large piece anew and hands it back at once, so every
large prompt pays for a page of zeros for each 4 KiB of each of its copies:
a quarter of what a prompt of 1.6 MB cost in all.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
MOST_KEPT_PIECE_BYTES = 32 * 1024 * 1024  # glibc takes no more
LARGEST = 2**31 - 1  # mallopt takes an int


def keep_freed(size_bytes: int) -> bool:
    """Keep up to so many bytes of freed memory for what comes next; 0 leaves it to the C library.

    Returns whether that could be said: only glibc listens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if not size_bytes or mallopt is None:
        return False
    pieces_kept = mallopt(M_MMAP_THRESHOLD, min(size_bytes, MOST_KEPT_PIECE_BYTES))
    return bool(pieces_kept and mallopt(M_TRIM_THRESHOLD, min(size_bytes, LARGEST)))
