"""The HTTP API: one router per resource. The routes only call use cases, which hold the logic."""
