"""The questions of a capture: their context, their filters and what their answers rest on."""
