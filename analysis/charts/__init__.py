"""Charts of a capture that are safe to open: what is drawn, and how it is saved."""
