"""The control API under /api/v1."""
