"""Goal: docs/acceptance.md lists every promise once and names only proofs that exist.

Method: read its tables; find the named tests in the syntax trees of their files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "acceptance.md"
PROTOCOL = ROOT / "protocol" / "PROTOCOL.md"

SERIES = {"V": 24, "B": 14, "T": 12, "R": 14, "G": 9}
EXPECTED = [f"{series}{n}" for series, last in SERIES.items() for n in range(1, last + 1)]
MET_DIFFERENTLY = ["V1", "V3", "V8", "V9", "V10", "V19", "V21", "R5", "R9"]


def rows(text: str) -> dict[str, list[list[str]]]:
    """Return the table rows that begin with a number, by the header of their last column."""
    found: dict[str, list[list[str]]] = {}
    header = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            header = ""
        elif not header:
            header = cells[-1]
        elif re.fullmatch(r"[VBTRG]\d+", cells[0]):
            found.setdefault(header, []).append(cells)
    return found


def faults(cell: str, read: Callable[[str], str | None]) -> Iterator[str]:
    """Say what is wrong with one "proven by" cell; `read` returns a file's text or nothing."""
    if cell == "not yet":
        return
    if not re.fullmatch(r"`[^`]+`(?:(?:, | |<br>)`[^`]+`)*", cell):
        yield f"{cell!r} is neither `not yet` nor a list of tests"
    for proof in re.findall(r"`([^`]+)`", cell):
        path, _, name = proof.partition("::")
        text = read(path)
        if text is None:
            yield f"{proof}: there is no file {path}"
        elif name not in proofs_in(text):
            yield f"{proof}: there is no such test in the file"


def proofs_in(text: str) -> set[str]:
    """Return the names of all tests of a file, `TestClass::test_method` for methods."""
    found = set()
    for node in ast.parse(text).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for item in inner:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(prefix + item.name)
    return {name for name in found if name.split("::")[-1].startswith("test")}


def read(path: str) -> str | None:
    file = ROOT / path
    return file.read_text() if file.is_file() and path.endswith(".py") else None


def guarantees(text: str) -> set[str]:
    """Return the guarantees that a text defines in headings or first cells of rows."""
    return set(re.findall(r"^(?:#+ +|\| *)\**`?(G\d+)\b", text, re.MULTILINE))


def test_every_promise_is_listed_once_and_in_order() -> None:
    assert [cells[0] for cells in rows(PAGE.read_text())["proven by"]] == EXPECTED


def test_what_is_met_differently_is_said_first_and_with_its_reason() -> None:
    tables = rows(PAGE.read_text())
    assert next(iter(tables)) == "why"
    assert [cells[0] for cells in tables["why"]] == MET_DIFFERENTLY
    assert all(len(cells) == 4 and cells[-1].endswith(".") for cells in tables["why"])


def test_every_proof_exists() -> None:
    found = [
        f"{cells[0]}: {fault}"
        for cells in rows(PAGE.read_text())["proven by"]
        for fault in ([] if len(cells) == 3 else ["not three cells"]) or faults(cells[-1], read)
    ]
    assert not found, "\n".join(found)


@pytest.mark.skipif(not PROTOCOL.exists(), reason="protocol/PROTOCOL.md is not written yet")
def test_the_protocol_and_the_page_know_the_same_guarantees() -> None:
    ours = {name for name in EXPECTED if name.startswith("G")}
    assert guarantees(PROTOCOL.read_text()) == ours


FILE = """
class TestA:
    async def test_b(self): ...
    def fixture(self): ...
@mark
def test_c(): ...
if True:
    def test_hidden(): ...
def other(): ...
"""


@pytest.mark.parametrize(
    "cell",
    ["not yet", "`a.py::test_c`", "`a.py::test_c`, `a.py::TestA::test_b`"],
)
def test_a_good_cell_passes(cell: str) -> None:
    assert list(faults(cell, {"a.py": FILE}.get)) == []


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "yes",
        "soon `a.py::test_c`",
        "`a.py`",
        "`b.py::test_c`",
        "`a.py::test_d`",
        "`a.py::test_b`",
        "`a.py::TestA::fixture`",
        "`a.py::TestA`",
        "`a.py::other`",
        "`a.py::test_c[1]`",
        "`a.py::test_c`, `a.py::test_d`",
    ],
)
def test_a_bad_cell_is_found(cell: str) -> None:
    assert list(faults(cell, {"a.py": FILE}.get)) != []


def test_rows_are_read_from_the_right_tables() -> None:
    page = "| row | x | why |\n|---|---|---|\n| V1 | a | b |\n\n| row | proven by |\n|---|---|\n"
    page += "| V1 | not yet |\n| V1 | `x` |\n\nText | V2 |\n"
    assert rows(page) == {
        "why": [["V1", "a", "b"]],
        "proven by": [["V1", "not yet"], ["V1", "`x`"]],
    }


def test_guarantees_are_read_from_headings_and_rows() -> None:
    assert guarantees("## G1 Whole\n| **G2** | x |\nsee G3\n| `G4` |\n| x | G5 |\n") == {
        "G1",
        "G2",
        "G4",
    }
