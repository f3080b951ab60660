"""The core in pretend time, and an engine to run it against."""
