"""Messages: what they consist of, and their JSON Schema."""
