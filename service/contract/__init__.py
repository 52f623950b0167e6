"""The wire: every message between service, client and worker, as frozen pydantic models.

Imports pydantic and nothing else, so that any side can load it in milliseconds.
"""
