"""DuckDB and what it is asked through: views, fetches, a user's SQL, its guard and its interruption."""
