"""A simulated inference engine that behaves like vLLM v1: a pure machine, and a server around it."""
