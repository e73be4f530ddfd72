"""Charts of a capture that are safe to open: their drawing and their files."""
