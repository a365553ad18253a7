"""Rows, queries and migrations: SQLite by default, written so PostgreSQL can follow."""
