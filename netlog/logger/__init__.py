"""Every period: extract, emit, clear."""
