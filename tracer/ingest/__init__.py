"""Traces to a published capture: the pipeline, its seed, and what a live recording adds."""
