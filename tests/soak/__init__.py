"""What takes too long for the suite. `scripts/soak` runs it."""
