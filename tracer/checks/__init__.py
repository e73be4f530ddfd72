"""Checks of this machine: whether it can make good captures."""
