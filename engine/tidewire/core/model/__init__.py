"""What a database change is: positions, relations, changes, transactions."""
