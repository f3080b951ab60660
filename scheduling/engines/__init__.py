"""Reading a backend: metric pages, one table per engine."""
