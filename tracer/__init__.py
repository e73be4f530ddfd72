"""Bytes to capture: reads traces, names what they hold, and stores it in columns."""
