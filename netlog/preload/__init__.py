"""Metering a daemon from inside, by a library loaded into it."""
