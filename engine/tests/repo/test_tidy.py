"""Goal: each rule of tools/tidy.py goes red on what it forbids; `make check` holds us to them.

Method: tiny repositories in memory, one violation each, beside their innocent neighbours.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tools import tidy

# Spelt in two halves, so that this file does not say what it forbids.
MARK = "TO" + "DO"
WORK = "/" + "work/x"
CORE_TEST = {"engine/tests/core/test_a.py": "import tidewire.core.a\n"}


def core(text: str) -> dict[str, str]:
    """Make a repository with one file in the core, tested and imported."""
    return {"engine/tidewire/core/a.py": text, **CORE_TEST}


def ratchet(table: str, name: str, size: int) -> dict[str, str]:
    return {"tools/ratchet.toml": f'[{table}]\n"{name}" = {size}\n'}


def function(lines: int) -> str:
    return "def f():\n" + '    """Text."""\n' + "    x = 1\n" * (lines - 2)


# (rule, what is wrong, the files, where it is found)
VIOLATIONS = [
    ("file_length", "long file", {"a.py": "x = 1\n" * 401}, "a.py:1"),
    ("file_length", "long TypeScript", {"client/a.ts": "\n" * 401}, "client/a.ts:1"),
    (
        "file_length",
        "an exception has grown",
        {"a.py": "x = 1\n" * 421} | ratchet("file_lines", "a.py", 420),
        "a.py:1",
    ),
    (
        "file_length",
        "an exception has shrunk and was not written down",
        {"a.py": "x = 1\n" * 419} | ratchet("file_lines", "a.py", 420),
        "tools/ratchet.toml:1",
    ),
    (
        "file_length",
        "an exception is not needed any more",
        {"a.py": "x = 1\n" * 400} | ratchet("file_lines", "a.py", 420),
        "tools/ratchet.toml:1",
    ),
    (
        "file_length",
        "an exception for a file that is gone",
        ratchet("file_lines", "a.py", 420),
        "tools/ratchet.toml:1",
    ),
    ("function_length", "long function", {"a.py": "\n" + function(51)}, "a.py:2"),
    (
        "function_length",
        "long coroutine in a class in a branch",
        {"a.py": "if x:\n    class C:\n        async def f():\n" + "            x = 1\n" * 50},
        "a.py:3",
    ),
    (
        "function_length",
        "an exception is not needed any more",
        {"a.py": function(50)} | ratchet("function_lines", "a.py::f", 60),
        "tools/ratchet.toml:1",
    ),
    ("syntax", "half a file", {"a.py": "def f(:\n"}, "a.py:1"),
    ("vague_name", "utils", {"a/utils.py": ""}, "a/utils.py:1"),
    ("vague_name", "prefix", {"a/util_json.py": ""}, "a/util_json.py:1"),
    ("vague_name", "suffix", {"test_json_helpers.py": ""}, "test_json_helpers.py:1"),
    ("vague_name", "folder", {"src/common/a.ts": ""}, "src/common/a.ts:1"),
    ("vague_name", "private", {"a/_misc.py": ""}, "a/_misc.py:1"),
    (
        "swallowed_error",
        "pass",
        {"a.py": "try:\n    f()\nexcept Exception:\n    pass\n"},
        "a.py:3",
    ),
    (
        "swallowed_error",
        "a bare except that goes on",
        {"a.py": "for x in y:\n    try:\n        f()\n    except:\n        continue\n"},
        "a.py:4",
    ),
    (
        "swallowed_error",
        "continue",
        {"a.py": "for x in y:\n    try:\n        f()\n    except Exception:\n        continue\n"},
        "a.py:4",
    ),
    (
        "swallowed_error",
        "return",
        {"a.py": "def f():\n    try:\n        g()\n    except Exception:\n        return\n"},
        "a.py:4",
    ),
    (
        "swallowed_error",
        "a broad name in a tuple",
        {"a.py": "try:\n    f()\nexcept (OSError, builtins.Exception):\n    ...\n"},
        "a.py:3",
    ),
    (
        "swallowed_error",
        "BaseException handled, not raised again",
        {"a.py": "try:\n    f()\nexcept BaseException as e:\n    log(e)\n"},
        "a.py:3",
    ),
    (
        "swallowed_error",
        "suppress",
        {"a.py": "with contextlib.suppress(OSError, Exception):\n    f()\n"},
        "a.py:1",
    ),
    (
        "sleeping_test",
        "time.sleep",
        {"engine/tests/test_a.py": "import time\ntime.sleep(0.1)\n"},
        "engine/tests/test_a.py:2",
    ),
    (
        "sleeping_test",
        "an imported sleep of a product",
        {"lab/tests/conftest.py": "async def f():\n    await sleep(delay=2 * 0.5)\n"},
        "lab/tests/conftest.py:2",
    ),
    ("impure_core", "import", core("import os.path\n"), "engine/tidewire/core/a.py:1"),
    (
        "impure_core",
        "import inside a function",
        core("def f():\n    from asyncio.events import get_event_loop\n"),
        "engine/tidewire/core/a.py:2",
    ),
    ("impure_core", "open", core("f = open('x')\n"), "engine/tidewire/core/a.py:1"),
    (
        "impure_core",
        "the clock",
        core("import datetime\nt = datetime.datetime.now()\n"),
        "engine/tidewire/core/a.py:2",
    ),
    (
        "untested_core",
        "no test file",
        {"engine/tidewire/core/a/b.py": "", "a.py": "import tidewire.core.a.b\n"},
        "engine/tidewire/core/a/b.py:1",
    ),
    (
        "untested_core",
        "a test file at the wrong place",
        {
            "engine/tidewire/core/a/b.py": "",
            "engine/tests/core/test_b.py": "import tidewire.core.a.b\n",
        },
        "engine/tidewire/core/a/b.py:1",
    ),
    (
        "dead_file",
        "nobody imports it but itself",
        {"engine/tidewire/a.py": "import tidewire.a\n"},
        "engine/tidewire/a.py:1",
    ),
    (
        "dead_file",
        "an empty package",
        {"engine/tidewire/a/__init__.py": "", "engine/tidewire/b/__main__.py": ""},
        "engine/tidewire/a/__init__.py:1",
    ),
    ("broken_link", "no file", {"a/b.md": "\n[x](../c.md)\n", "a/c.md": ""}, "a/b.md:2"),
    ("broken_link", "no heading", {"a.md": "[x](b.md#two)\n", "b.md": "# One\n"}, "a.md:1"),
    ("broken_link", "no heading here", {"a.md": "# One\n\n[x](#two)\n"}, "a.md:3"),
    ("broken_link", "definition", {"a.md": "[x]\n\n[x]: gone.md\n"}, "a.md:3"),
    ("broken_link", "image in a link", {"a.md": "[![x](a.png)](b.md)\n", "b.md": ""}, "a.md:1"),
    ("broken_link", "out of the repository", {"a.md": "[x](../a.md)\n"}, "a.md:1"),
    (
        "broken_link",
        "a heading inside a fence is none",
        {"a.md": "```sh\n# One\n```\n[x](#one)\n"},
        "a.md:4",
    ),
    ("forbidden_text", "machine path", {"a.md": f"x\nsee {WORK}/y\n"}, "a.md:2"),
    ("forbidden_text", "home", {"a.toml": 'x = "/' + 'home/me/x"\n'}, "a.toml:1"),
    ("forbidden_text", "registry", {"a.txt": "--index" + "-url https://x\n"}, "a.txt:1"),
    (
        "forbidden_text",
        "registry host",
        {"a.json": "https://registry" + ".npmjs.org\n"},
        "a.json:1",
    ),
    ("forbidden_text", "unfinished", {"a.py": f"x = 1  # {MARK} later\n"}, "a.py:1"),
    ("white_space", "no newline at the end", {"a.txt": "x\ny"}, "a.txt:2"),
    ("white_space", "white space at the end", {"a.md": "x\ny \nz\n"}, "a.md:2"),
    ("white_space", "Windows line ends", {"a.md": "x\r\n"}, "a.md:1"),
    ("white_space", "tab", {"a.py": "if x:\n\ty = 1\n"}, "a.py:2"),
]

INNOCENT: dict[str, dict[str, str]] = {
    "a file and a function at the limit": {"a.py": "x = 1\n" * 350 + function(50)},
    "exceptions of the size that is written down": {
        "a.py": "x = 1\n" * 420,
        "b.py": function(60) + "\n\n" + function(3),
        "c.py": "class C:\n    def f():\n" + "        x = 1\n" * 51,
        "tools/ratchet.toml": dedent("""\
            [file_lines]
            "a.py" = 420
            [function_lines]
            "b.py::f" = 60
            "c.py::C.f" = 52
            """),
    },
    "names that only contain a vague word": {
        "commonality.py": "",
        "uncommon.py": "",
        "a/helped.ts": "",
    },
    "errors that are named, handled or raised again": {
        "a.py": dedent("""\
            try:
                f()
            except OSError:
                pass
            except Exception as error:
                log(error)
            except BaseException:
                release()
                raise
            with suppress(KeyError):
                f()
            """)
    },
    "sleeps that are no waiting": {
        "engine/tests/test_a.py": dedent("""\
            async def f(delay):
                await asyncio.sleep(0)
                await asyncio.sleep(delay)
                await asyncio.sleep(limits.HEARTBEAT_S / 2)
                await asyncio.sleep(1)  # why: the bug needs a real second
                await asyncio.sleep(
                    1,  # why: long calls too
                )
            """),
        "benchmarks/a.py": "time.sleep(1)\n",
    },
    "a pure core": core("from datetime import datetime\nfrom .time import x\nimport timeless\n"),
    "modules that are needed": {
        "engine/tidewire/__init__.py": "LAZY = {'b': 'tidewire.b:B'}\n",
        "engine/tidewire/__main__.py": "from .cli import main\n",
        "engine/tidewire/b.py": "",
        "engine/tidewire/c/__init__.py": "from . import d\n",
        "engine/tidewire/c/d.py": "from ..e import f\n",
        "engine/tidewire/e.py": "",
        "engine/tidewire/cli.py": "",
        "engine/tidewire/g/h.py": "",
        "engine/tidewire/i.py": "",
        "engine/pyproject.toml": '[project.scripts]\ntidewire = "tidewire.g.h:main"\n',
        "examples/x/i.py": "def f():\n    import tidewire.i as i\n",
    },
    "links that lead somewhere": {
        "a/b.md": dedent("""\
            # Who, and *why*?
            ## `a_b` [c](../c.md)
            # Who, and why?
            <a id="hand"></a>
            [x](../c.md) [x](/c.md#top "title") [x](<b.md>) [x](../a/) [x](..) [x](../d%20e.py#L3)
            [x](#who-and-why) [x](#who-and-why-1) [x](#a_b-c) [x](#hand) [x](#r%C3%A9sum%C3%A9)
            [x](https://example.org/x.md) [x](mailto:x) `[x](gone.md)` ``a ` [x](gone.md)``
            ## Résumé

            ~~~text
            [x](gone.md)
            ```
            [x](gone.md)
            ~~~
            [y]: ../c.md
            [z]: https://example.org
            """),
        "c.md": "Top\n# Top #\n",
        "d e.py": "",
    },
    "texts that only look like what is forbidden": {
        "a.md": f"https://example.org{WORK} network/a src{WORK} HACKS AU{MARK}\n",
    },
    "an empty file": {"py.typed": ""},
}


@pytest.mark.parametrize(
    ("rule", "files", "place"),
    [pytest.param(r, files, place, id=f"{r}: {text}") for r, text, files, place in VIOLATIONS],
)
def test_a_violation_is_found(rule: str, files: dict[str, str], place: str) -> None:
    found = tidy.findings(tidy.Repository(files))
    assert [f for f in found if f.startswith(f"{place}: {rule}: ")], found
    assert len(found) == 1, found


@pytest.mark.parametrize("name", INNOCENT)
def test_innocent_files_pass(name: str) -> None:
    found = tidy.findings(tidy.Repository(INNOCENT[name]))
    assert found == []


def test_a_link_to_a_picture_is_followed() -> None:
    text = {"a.md": "![x](a.png)\n"}
    assert tidy.findings(tidy.Repository(text, frozenset({"a.png"}))) == []
    assert len(tidy.findings(tidy.Repository(text))) == 1


def test_every_rule_has_been_seen_red() -> None:
    assert {rule for rule, *_ in VIOLATIONS} == {rule.__name__ for rule in tidy.RULES}


def test_the_command_prints_findings_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.bin").write_bytes(b"\xff\x00")
    monkeypatch.setattr(tidy, "tracked_paths", lambda root: ["a.txt", "b.bin"])
    assert tidy.main(tmp_path) == 1
    assert capsys.readouterr().out == "a.txt:1: white_space: does not end with a newline\n"
    (tmp_path / "a.txt").write_text("x\n")
    assert tidy.main(tmp_path) == 0
    assert capsys.readouterr().out == ""
