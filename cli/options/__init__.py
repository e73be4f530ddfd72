"""Options that verbs share, and how their words are read."""
