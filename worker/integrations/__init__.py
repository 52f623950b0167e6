"""Callbacks that report the trials of other training libraries."""
