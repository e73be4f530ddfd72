"""Common parts of verbs that record: options, messages, Ctrl-C."""
