"""Reading flow logs: from any JSON stream that contains messages to tables, CSV or JSON lines."""
