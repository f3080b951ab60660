"""A fake engine and its clients in one process: what every gateway is measured with."""
