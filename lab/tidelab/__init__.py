"""Tidelab is a test lab for systems that keep clients in step with a database."""

from __future__ import annotations

__version__ = "0.1.0"
