"""A package, so that its one Chromium and its event loop end with it."""
