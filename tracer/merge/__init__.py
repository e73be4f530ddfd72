"""Captures of one host, made of different kinds of sources, as one capture."""
