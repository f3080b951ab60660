"""The console's pages; this app owns no tables."""
