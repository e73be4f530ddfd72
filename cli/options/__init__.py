"""Options that verbs share, and the parsing of their values."""
