"""How things are shown to a person."""
