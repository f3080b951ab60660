"""Processes killed under load, and what the books say afterwards."""
