"""Where rows and messages go, in which format, and what must not reach a terminal."""
