"""Which rows of which table a client may see, and what a commit means for them."""
