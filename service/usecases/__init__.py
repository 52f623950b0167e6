"""Use cases of the service: each loads data, decides by pure rules, and writes guarded updates in one transaction."""
