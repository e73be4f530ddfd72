"""DuckDB: the connection, views, fetches, a user's SQL and its guard, and interruption."""
