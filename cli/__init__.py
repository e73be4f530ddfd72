"""The command line: one file per verb. It parses, calls one function, renders."""
