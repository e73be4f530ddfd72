"""What the cases of benchmarks/analyses.py are asked."""

ENGINE_LIMIT = "2500MB"  # of DuckDB; Arrow, Python and what the engine does not count come on top
BUSY_KEY = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
SUBTREE = r"HKLM\SYSTEM\Select"
