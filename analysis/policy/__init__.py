"""Group policy files that a user gives: what they set (registry.pol) and what a setting is called (.admx)."""
