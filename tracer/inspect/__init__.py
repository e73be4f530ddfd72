"""Traces looked at without a capture: facts of a file, and every record of it."""
