"""Logs and exports as text: records of JSON, XML and CSV files as columns of text fields."""
