"""What netlog costs: one claim a file, each beside its floor or its peer, in one run."""
