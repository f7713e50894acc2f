"""What `tidewire doctor` thinks of a database: facts go in, findings come out."""
