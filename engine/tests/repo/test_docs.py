"""Goal: what the documentation shows can be run.

Method: each Python block is a region of a file in examples/ (which its own tests run), and each
`make` line of a shell block names targets of the Makefile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[3]

FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *(\w*)[^\n]*\n(.*?)^ *\2`*~* *$", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([\w-][\w -]*):(?!=)", re.MULTILINE)
PYTHON = {"python", "py", "python3"}
SHELL = {"bash", "sh", "shell", "console"}


def pages() -> dict[str, str]:
    """Return the pages that show code to readers."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted(paths)}


def examples() -> list[str]:
    return [path.read_text() for path in sorted((ROOT / "examples").rglob("*.py"))]


def makefile() -> str:
    path = ROOT / "Makefile"
    return path.read_text() if path.is_file() else ""


def blocks(text: str, languages: set[str]) -> Iterator[tuple[int, str]]:
    """Yield the fenced blocks of some languages, without their indentation, with their lines."""
    for match in FENCE.finditer(text):
        if match[3] in languages:
            yield text.count("\n", 0, match.start()) + 1, dedent(match[4])


def occurs_in(block: str, example: str) -> bool:
    """Tell whether a block is a run of whole lines of an example, at any depth of indentation."""
    wanted, lines = block.rstrip("\n").split("\n"), example.split("\n")
    windows = (lines[i : i + len(wanted)] for i in range(len(lines) - len(wanted) + 1))
    return any(dedent("\n".join(window)) == "\n".join(wanted) for window in windows)


def strangers(pages: dict[str, str], examples: Iterable[str]) -> list[str]:
    """Name the Python blocks that stand in no example."""
    files = list(examples)
    return [
        f"{path}:{line}: this block is in no file of examples/"
        for path, text in pages.items()
        for line, block in blocks(text, PYTHON)
        if not any(occurs_in(block, file) for file in files)
    ]


def unknown_targets(pages: dict[str, str], makefile: str) -> list[str]:
    """Name the targets that shell blocks call and the Makefile lacks."""
    known = {name for names in TARGET.findall(makefile) for name in names.split()}
    return [
        f"{path}:{line}: there is no `make {target}`"
        for path, text in pages.items()
        for line, block in blocks(text, SHELL)
        for target in called_targets(block)
        if target not in known
    ]


def called_targets(block: str) -> Iterator[str]:
    """Yield the targets of all `make` commands of a shell block."""
    for command in re.findall(r"^(?:\$ )?make +([^#;&|\n]+)", block, re.MULTILINE):
        yield from (word for word in command.split() if "=" not in word and word[0] != "-")


def test_every_python_block_is_an_example_that_runs() -> None:
    found = strangers(pages(), examples())
    assert not found, "\n".join(found)


def test_every_make_command_exists() -> None:
    found = unknown_targets(pages(), makefile())
    assert not found, "\n".join(found)


EXAMPLE = """\
import tidewire


async def main() -> None:
    async with connect() as client:

        await client.run()
"""


def page(code: str, language: str = "python") -> dict[str, str]:
    return {"a.md": f"Text\n\n```{language}\n{code}```\n"}


def test_a_region_of_an_example_passes() -> None:
    region = "async with connect() as client:\n\n    await client.run()\n"
    assert strangers(page(EXAMPLE), [EXAMPLE]) == []
    assert strangers(page(region), ["", EXAMPLE]) == []
    assert strangers(page("nothing\n", "text"), []) == []
    in_a_list = "1. Do\n\n   ```python\n   import tidewire\n   ```\n"
    assert strangers({"a.md": in_a_list}, [EXAMPLE]) == []


def test_a_block_that_differs_is_found() -> None:
    missing = ["a.md:3: this block is in no file of examples/"]
    assert strangers(page("import tidewire\n"), []) == missing
    assert strangers(page("import tidewire as t\n"), [EXAMPLE]) == missing
    assert strangers(page("import tide\n"), [EXAMPLE]) == missing
    assert strangers(page("await client.run() \n"), [EXAMPLE]) == missing
    assert strangers(page("async with connect() as client:\nawait client.run()\n"), [EXAMPLE])


def test_an_unknown_make_target_is_found() -> None:
    known = ".PHONY: x\nPYTHON := python\ncheck: install\n\tmake gone\nunit test:\n"
    shown = "make check test # all\n$ make -j2 unit V=1 && echo\necho make sense\nmake demo\n"
    assert unknown_targets(page(shown, "bash"), known) == ["a.md:3: there is no `make demo`"]
    assert unknown_targets(page(shown, "text"), known) == []
    assert unknown_targets(page("make PYTHON\n", "sh"), known) != []
