"""The registry itself: operations, paths, names as text, values, NTSTATUS codes, users' words."""
