"""Callbacks over event rows, in the shape of CmRegisterCallbackEx."""
