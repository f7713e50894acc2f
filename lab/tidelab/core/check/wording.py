"""Words for rows, keys and subscriptions, so that all checkers speak alike.

The one rule: a sentence names a few examples and how many there are in all.
"""

from __future__ import annotations

from collections.abc import Collection

from tidelab.core.check.span import Difference, Span
from tidelab.core.history.truth import Key
from tidelab.limits import ROWS_SHOWN_MAX


def name_key(key: Key) -> str:
    """Write a key."""
    return ", ".join("NULL" if value is None else value for value in key)


def name_keys(keys: Collection[Key]) -> str:
    """Write how many rows there are, and the keys of the first few."""
    ordered = sorted(keys, key=lambda key: [value or "" for value in key])
    listed = "; ".join(name_key(key) for key in ordered[:ROWS_SHOWN_MAX])
    more = "; ..." if len(ordered) > ROWS_SHOWN_MAX else ""
    return f"{len(ordered)} row{'s'[: len(ordered) != 1]} ({listed}{more})"


def name_span(span: Span) -> str:
    """Write whose subscription it is, and of what."""
    return f"client {span.client}, subscription {span.id!r} of {span.view.table.name}"


def name_difference(difference: Difference) -> str:
    """Write how the client's rows differ from the truth."""
    parts: list[tuple[Collection[Key], str]] = [
        (difference.missing, "missing"),
        (difference.extra, "too many"),
        (difference.changed, "with other values"),
    ]
    return ", ".join(f"{name_keys(rows)} {what}" for rows, what in parts if rows)
