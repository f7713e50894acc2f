"""Bytes of the replication stream become transactions."""
