"""What a capture can be asked: one question a module, each an Ibis function from tables to a table."""
