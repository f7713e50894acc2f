"""Write docs/reference from the registries of the code: settings, codes, limits, doctor, metrics.

Run as `make docs`; a test insists that what is committed is what this writes.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tidewire import limits
from tidewire.config import ENVIRONMENT_PREFIX, Config
from tidewire.core.diagnosis.matters import MATTERS
from tidewire.core.protocol.codes import CLOSES, ERRORS
from tidewire.telemetry import Metrics

HOME = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "This page is written by `make docs` from the code; do not edit it.\n"


def configuration() -> str:
    """List the settings, with their default and their words from `Config`."""
    texts = _texts_below(Config)
    rows = [
        (f"`{field.name}`", f"`{ENVIRONMENT_PREFIX}{field.name.upper()}`", _default(field), text)
        for field in dataclasses.fields(Config)
        if (text := texts[field.name])
    ]
    head = (
        "# Settings\n\n"
        + NOTE
        + "\nFlags beat variables, which beat `tidewire.toml`, which beats defaults. Lists are\n"
        "separated by commas in variables and are arrays in the file.\n\n"
    )
    return head + _table(("name", "variable", "default", "meaning"), rows)


def codes() -> str:
    """List the error and close codes."""
    errors = [(f"`{c.name}`", "yes" if c.retry else "no", c.text) for c in ERRORS.values()]
    closes = [
        (f"{c.number}", f"`{c.name}`", "yes" if c.retry else "no", c.text) for c in CLOSES.values()
    ]
    return (
        f"# Codes\n\n{NOTE}\n## Errors and resets\n\nThe connection lives on.\n\n"
        + _table(("code", "retry", "meaning"), errors)
        + "\n## Close codes\n\n`retry` tells whether a client comes back by itself.\n\n"
        + _table(("number", "name", "retry", "meaning"), closes)
    )


def bounds() -> str:
    """List the limits with the comments that give their reasons."""
    rows = [(f"`{name}`", _number(value), reason) for name, value, reason in _limits()]
    return f"# Limits\n\n{NOTE}\n" + _table(("limit", "value", "reason"), rows)


def metrics() -> str:
    """List what /metrics tells; gauges of the engine are registered by the engine itself."""
    from tidewire.engine import Engine

    engine = Engine(Config(database_url="postgresql://unused", dev=True))
    assert isinstance(engine.metrics, Metrics)
    families = text_string_to_metric_families(engine.metrics.exposition().decode())
    rows = [(f"`{f.name}`", f.type, f.documentation) for f in families]
    shown = [row for row in rows if not row[0].endswith("_created`")]
    return f"# Metrics\n\n{NOTE}\n" + _table(("name", "type", "meaning"), sorted(shown))


def doctor() -> str:
    """List the matters that `tidewire doctor` looks at."""
    rows = [(f"`{id}`", matter.right, matter.remedy) for id, matter in MATTERS.items()]
    head = (
        f"# What the doctor looks at\n\n{NOTE}\n"
        "The ids of `tidewire doctor --json`, in its order. The command itself prints each remedy\n"
        "with all its names, to be pasted into psql; see [the how-to](../howto/database.md).\n\n"
    )
    return head + _table(("id", "what is right", "remedy"), rows)


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "doctor.md": doctor,
    "codes.md": codes,
    "limits.md": bounds,
    "metrics.md": metrics,
}


def _texts_below(of: type) -> dict[str, str]:
    """Return the string that stands below each field of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(of))).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        match node, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
    return texts


def _default(field: dataclasses.Field[object]) -> str:
    match field.default:
        case "" | ():
            return "none"
        case bool(value):
            return "on" if value else "off"
        case value:
            return f"`{value}`"


def _limits() -> Iterator[tuple[str, float, str]]:
    comment: list[str] = []
    for line in inspect.getsource(limits).splitlines():
        name = line.partition(":")[0]
        if line.startswith("# ---") or not line:
            comment = []
        elif line.startswith("# "):
            comment.append(line.removeprefix("# "))
        elif ": Final" in line and name not in ("KIB", "MIB"):
            yield name, getattr(limits, name), " ".join(comment)
            comment = []


def _number(value: float) -> str:
    for unit, size in (("MiB", limits.MIB), ("KiB", limits.KIB)):
        if isinstance(value, int) and value >= size and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:g}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> None:
    """Write all pages."""
    HOME.mkdir(parents=True, exist_ok=True)
    for name, write in PAGES.items():
        (HOME / name).write_text(write())


if __name__ == "__main__":
    main()
