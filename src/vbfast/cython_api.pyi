"""Stub of the compiled module, whose functions are for ``cimport`` (see ``cython_api.pxd``)."""
