"""What the live pages show, as plain values: one board per topic.

A page's first view and every later frame are made from the same board, so
they cannot disagree. Pure: no clock, no database, no Valkey.
"""
