"""Harnesses of what Python parses: a module each, with seeds() and fuzz()."""
