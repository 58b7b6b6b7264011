"""What is run: a file, pinned, known by its identity and its digest."""
