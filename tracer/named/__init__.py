"""Named sources: logs that bring the paths of keys; what each record says becomes an event row."""
