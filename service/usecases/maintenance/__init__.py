"""Maintenance: what the service does by itself, such as ending expired leases."""
