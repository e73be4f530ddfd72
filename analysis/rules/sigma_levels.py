"""The levels of Sigma rules."""

__all__ = ["LEVELS"]

LEVELS = ("informational", "low", "medium", "high", "critical")  # of Sigma's specification, mildest first
