"""Decoded and resolved records to event rows, their processes, and the row groups of a part."""
