"""SQL: the tables, the only place that commits, and every question asked of the database."""
