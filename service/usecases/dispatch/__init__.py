"""Dispatch: which trial a worker gets, and the grant of it."""
