"""Capture on Windows: everything around a tracing session but the session itself (`tracer.session.session`)."""
