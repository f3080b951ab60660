"""What a consumer sees and steers of its own: queue, requests, limits and usage, never another tenant's."""
