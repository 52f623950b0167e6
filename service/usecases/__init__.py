"""Intents: each function loads, decides by pure rules, and writes guarded, in one transaction."""
