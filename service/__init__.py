"""The search service: keeps studies, hands out trials, explains itself."""
