"""The questions of a capture, with their context, filters and caveats."""
