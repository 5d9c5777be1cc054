"""Shippers to receivers over HTTP."""
