"""Where faults become real: processes are killed, stopped and frozen."""
