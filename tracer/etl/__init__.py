"""The .etl container: buffers, record headers, and their order in time."""
