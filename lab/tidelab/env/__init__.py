"""Shell: what a run needs around it, leased and given back."""
