"""What the verbs that record share: options, messages, Ctrl-C."""
