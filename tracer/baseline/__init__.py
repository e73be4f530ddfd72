"""Hives as the state before a trace: keys and values of a registry file, and where they stand in the capture."""
