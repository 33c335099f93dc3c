"""Channel Access driven by Python's threads."""
