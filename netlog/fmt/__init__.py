"""Shows flow logs: it turns any JSON stream with messages into tables, CSV or JSON lines."""
