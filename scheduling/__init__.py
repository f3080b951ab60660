"""Who goes next, and how many may go."""
