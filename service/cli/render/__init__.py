"""Renders answers of the service for a terminal; never calls the service."""
