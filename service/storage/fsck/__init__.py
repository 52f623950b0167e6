"""Checks every invariant of a database and names the rows that violate one."""
