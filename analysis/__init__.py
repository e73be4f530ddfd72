"""Questions about a capture, asked as functions from tables to tables."""
