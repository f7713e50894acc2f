"""Numbers in the text form of Prometheus; each half of the server brings its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """One name, and its values by their labels; a number that stands alone has the label ""."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    values: Mapping[str, float]


def gauge(name: str, value: float, text: str) -> Family:
    """Make a number that goes up and down."""
    return Family(name, "gauge", text, {"": value})


def counter(name: str, value: float, text: str) -> Family:
    """Make a number that only grows."""
    return Family(f"{name}_total", "counter", text, {"": value})


def counters(
    name: str, label: str, counts: Mapping[str, int] | Mapping[int, int], text: str
) -> Family:
    """Make numbers that only grow, told apart by a label."""
    values = {f'{{{label}="{value}"}}': count for value, count in sorted(counts.items())}
    return Family(f"{name}_total", "counter", text, values)


def exposition(families: Iterable[Family]) -> bytes:
    """Write all numbers."""
    lines = []
    for name, kind, text, values in families:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value!r}" for labels, value in values.items()]
    return "".join(f"{line}\n" for line in lines).encode()
