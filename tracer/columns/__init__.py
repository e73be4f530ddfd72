"""Columns of numbers and names: Arrow arrays laid over NumPy's, and stable orders of integers."""
