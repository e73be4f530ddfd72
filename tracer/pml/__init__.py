"""Procmon logs (.pml): every registry operation of the file as an event row."""

from tracer.pml.file import PmlFile

__all__ = ["PmlFile"]
