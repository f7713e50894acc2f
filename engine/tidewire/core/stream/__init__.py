"""Order and position: the log of recent commits and where readers stand in it."""
