"""Builds running gateways from configurations. Only this package knows all the others."""
