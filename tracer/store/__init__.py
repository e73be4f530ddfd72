"""The capture on disk: Parquet tables and the manifest that says which exist."""
