"""What happened in a run: who saw what, and what the database says was true."""
