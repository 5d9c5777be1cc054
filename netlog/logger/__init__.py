"""Polls the meter: every period it extracts the counts, emits messages and clears the counts."""
