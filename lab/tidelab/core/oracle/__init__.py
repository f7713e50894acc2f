"""The truth at each position, worked out without any help of the system under test."""
