"""What is written while a run goes on, and what clients ask for: seeded, over several tables."""
