"""Source files: what kind each is, which machine it is of, and how bytes come out of archives and pipes."""
