"""Tailscale: tailscaled's LocalAPI."""
