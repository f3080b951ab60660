"""The pure machine that decides: no clock, no loop, no I/O."""
