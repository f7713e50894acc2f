"""Many clients in one loop; they record what they are told, and suffer what the weather brings."""
