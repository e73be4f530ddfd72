"""A terminal view of the registry with a time slider: its model, which knows no terminal, and its screens."""
