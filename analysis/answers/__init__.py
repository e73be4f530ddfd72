"""The questions of a capture: one question a module, each an Ibis function from tables to a table."""
