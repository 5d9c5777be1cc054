"""The core's meter in Python: holding it, counting into it, polling it."""
