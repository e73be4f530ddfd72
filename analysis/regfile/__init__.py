"""Net changes as .reg files."""
