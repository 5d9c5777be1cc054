"""Configuration files as checked values; opens nothing."""
