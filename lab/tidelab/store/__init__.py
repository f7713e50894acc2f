"""Shell: run folders on disk."""
