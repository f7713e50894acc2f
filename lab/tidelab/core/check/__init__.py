"""Verdicts on a history: one property per file, each proven by mutants."""
