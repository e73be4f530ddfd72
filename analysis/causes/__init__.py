"""Causes: why a value was written, what came of it, and which differing value may part two runs."""
