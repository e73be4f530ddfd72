"""Questions about a capture: functions from tables to tables."""
