"""Recordings: from options to trace files and a published capture, attached or detached."""
