"""Database queries, one module per noun; each function takes a connection and returns rows or values."""
