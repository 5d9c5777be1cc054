"""From the rows of a period to its messages, and back."""
