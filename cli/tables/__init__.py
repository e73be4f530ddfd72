"""Answers as people read them: one question's table a module. Nothing here asks or computes."""
