"""What speaks with PostgreSQL."""
