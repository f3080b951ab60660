"""One error for everything that stands in the way of a start, with the mend in its message."""

from __future__ import annotations


class Trouble(Exception):
    """Something an admin can mend. The message says what is wrong and what to do."""
