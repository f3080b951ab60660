"""Who is calling, and the bytes."""
