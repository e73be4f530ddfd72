"""Source files: their kind, their machine, and their bytes out of archives and pipes."""
