"""The registry itself: operations, paths, names as text, values, NTSTATUS codes, and the words that users say for them."""
