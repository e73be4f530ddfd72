"""Key objects to paths: who named what, as of when."""
