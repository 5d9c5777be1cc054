"""Reads configuration files into checked values, and opens nothing else."""
