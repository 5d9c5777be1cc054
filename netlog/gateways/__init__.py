"""Wiring: from a configuration to running gateways. The only package that knows all others."""
