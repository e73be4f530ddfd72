"""A simulated registry that writes genuine .etl files with known truth."""
