"""Recordings: from a user's wish to trace files and a published capture, at once or detached."""
