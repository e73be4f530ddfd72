"""Output of rows and messages: destinations, formats, and safety of terminals."""
