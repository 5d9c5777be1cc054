"""Metering a daemon from inside, with a library that is loaded into it."""
