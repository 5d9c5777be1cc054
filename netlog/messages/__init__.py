"""Turns the rows of a period into messages, and reads messages back."""
