"""Remedies: turns what a finding recommends into an action that the service can carry out by one call."""
