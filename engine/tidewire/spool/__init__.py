"""Where bytes go that are too many for memory."""
