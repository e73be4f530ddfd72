"""Key objects to paths, as of the time of each record."""
