"""The wire format: every message between service, client and worker, as frozen pydantic models.

This package imports only pydantic and the standard library, so that each side can load it in milliseconds.
"""
