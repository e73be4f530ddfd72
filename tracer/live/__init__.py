"""Capture on Windows: everything around a tracing session but the session itself (`tracer.session.session`).

It was exercised with a double of the tracing service, on Linux and under Wine; not yet on Windows itself.
"""
