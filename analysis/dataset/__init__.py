"""Many captures as one, on DuckDB or on Spark."""
