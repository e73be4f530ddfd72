"""Payloads to columns: layouts, strings, and the fields of a callback."""
