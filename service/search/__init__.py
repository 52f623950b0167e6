"""Search strategies: pure functions from a study's history to the next suggestion or verdict."""
