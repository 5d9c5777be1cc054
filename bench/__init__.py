"""What netlog costs: one claim a file, each measured beside its floor or its peer in the same run."""
