"""Calls of Windows other than tracing: handles, rights, processes, this machine's registry."""
