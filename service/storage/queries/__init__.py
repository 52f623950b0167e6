"""Every question asked of the database, one module per noun; each takes a connection and returns rows or values."""
