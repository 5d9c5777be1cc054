"""Tests of the benches themselves: what they measure is measured, what they say is what was."""
