"""How text and quantities are shown to a person."""
