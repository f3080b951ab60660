"""The core plus waiting."""
