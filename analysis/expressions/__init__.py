"""Ibis expressions that every engine understands: folded names, links, counters, exact time."""
