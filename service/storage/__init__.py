"""Storage: the SQL tables, the only code that commits, and all database queries."""
