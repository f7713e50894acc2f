"""Check the house rules that no other linter knows: STYLE.md is the law, this is its bailiff.

One rule is one small function: it takes a `Repository` (a value: path -> text) and yields spots
(path, line, text). The list `RULES` at the end names them all; whoever adds one adds it there and
shows in `engine/tests/repo/test_tidy.py` a tiny repository that turns it red.

Run `python tools/tidy.py`: one line per finding, exit code 1 if there is any.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from posixpath import dirname, join, normpath
from urllib.parse import unquote

FILE_LINES_MAX = 400  # what a reader can hold in mind, and scroll through without losing the thread
FUNCTION_LINES_MAX = 50  # one screen, docstring included; the usual function is far shorter
RATCHET = "tools/ratchet.toml"

SOURCE = frozenset({".py", ".ts", ".tsx", ".js", ".mjs", ".css", ".html", ".sql", ".sh"})
TESTS = ("engine/tests/", "lab/tests/")
CORE = "engine/tidewire/core/"
CORE_TESTS = "engine/tests/core/"
PACKAGE = "tidewire"
PACKAGE_HOME = "engine/"

VAGUE = re.compile(r"(?:^|[^a-z])(util(?:s|ity|ities)?|helpers?|commons?|misc)(?![a-z])")
IMPURE = re.compile(
    r"(asyncio|socket|ssl|threading|subprocess|time|random|os|logging|secrets|uuid|"
    r"psycopg|websockets|uvicorn)\b"
)
BROAD = frozenset({"Exception", "BaseException"})

FORBIDDEN_TEXT = {  # each pattern is spelt so that it does not match its own line
    r"(?<![\w.])/(?:(?:work|root)|(?:home|Users)/[\w.-]+)/": "is a path of one machine",
    r"(?i:index[-_]url|registry\.(?:npmjs|yarnpkg)|pythonhosted\.org|pypi\.org/simple|"
    r"proxy\.golang|npm_config_[r]egistry)": "says where packages come from: the reader decides",
    r"\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b": "marks unfinished work: finish it, or write it down",
}
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\s*\)")
LINK_DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)")

Spot = tuple[str, int, str]
Sizes = dict[str, tuple[str, int, int]]  # name -> path, line, number of lines
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Repository:
    """Hold the tracked files: the text of each, and the paths of those that are not text."""

    files: Mapping[str, str]
    binaries: frozenset[str] = frozenset()

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Return the syntax tree of every Python file that has one."""
        trees = {}
        for path, text in self.files.items():
            if path.endswith(".py"):
                with suppress(SyntaxError):  # the rule `syntax` reports it
                    trees[path] = ast.parse(text)
        return trees

    def nodes(self, under: str | tuple[str, ...] = "") -> Iterator[tuple[str, int, ast.AST]]:
        """Walk over all syntax nodes of the Python files below some folders."""
        for path, tree in self.trees.items():
            if path.startswith(under):
                for node in ast.walk(tree):
                    yield path, getattr(node, "lineno", 1), node

    @cached_property
    def sources(self) -> dict[str, str]:
        """Return the files that people write as code."""
        return {p: text for p, text in self.files.items() if PurePosixPath(p).suffix in SOURCE}

    @cached_property
    def places(self) -> frozenset[str]:
        """Return everything that a link may name: files and their folders."""
        paths = {*self.files, *self.binaries}
        return frozenset(paths | {str(up) for path in paths for up in PurePosixPath(path).parents})


def file_length(repository: Repository) -> Iterator[Spot]:
    """Keep files short."""
    sizes = {p: (p, 1, len(text.splitlines())) for p, text in repository.sources.items()}
    yield from over_limit(repository, "file_lines", FILE_LINES_MAX, sizes)


def function_length(repository: Repository) -> Iterator[Spot]:
    """Keep functions short."""
    sizes: Sizes = {}
    for path, tree in repository.trees.items():
        for name, node in functions(tree):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            key = f"{path}::{name}"
            if key not in sizes or lines > sizes[key][2]:  # overloads share a name
                sizes[key] = (path, node.lineno, lines)
    yield from over_limit(repository, "function_lines", FUNCTION_LINES_MAX, sizes)


def over_limit(repository: Repository, table: str, limit: int, sizes: Sizes) -> Iterator[Spot]:
    """Compare sizes with the limit and with the ratchet, whose entries may only shrink."""
    ratchet: dict[str, int] = tomllib.loads(repository.files.get(RATCHET, "")).get(table, {})
    for name, (path, line, lines) in sizes.items():
        allowed = max(ratchet.get(name, limit), limit)
        if lines > allowed:
            yield path, line, f"{name} has {lines} lines, at most {allowed}"
        elif name in ratchet and lines <= limit:
            yield RATCHET, 1, f"{name} needs no exception any more: remove it"
        elif name in ratchet and lines < allowed:
            yield RATCHET, 1, f"{name} has shrunk: write down {lines}, not {allowed}"
    for name in ratchet.keys() - sizes.keys():
        yield RATCHET, 1, f"{name} does not exist: remove it"


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Walk over all functions below a node with their qualified names."""
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, Function | ast.ClassDef):
            inner = f"{prefix}{child.name}."
        if isinstance(child, Function):
            yield inner[:-1], child
        yield from functions(child, inner)


def syntax(repository: Repository) -> Iterator[Spot]:
    """Say which files the other rules could not read."""
    for path in repository.files:
        if path.endswith(".py") and path not in repository.trees:
            yield path, 1, "is not Python"


def vague_name(repository: Repository) -> Iterator[Spot]:
    """Refuse names that say only that nobody found a name."""
    for path in repository.sources:
        if vague := VAGUE.search(path.lower()):
            yield path, 1, f"{vague[1]!r} is no concept: name the file after what it holds"


def swallowed_error(repository: Repository) -> Iterator[Spot]:
    """Refuse code that makes errors disappear."""
    for path, line, node in repository.nodes():
        match node:
            case ast.ExceptHandler() if fault := handler_fault(node):
                yield path, line, fault
            case ast.Call(func=func, args=args) if last_name(func) == "suppress":
                if BROAD & {last_name(argument) for argument in args}:
                    yield path, line, "suppresses every error: name the one you expect"


def handler_fault(handler: ast.ExceptHandler) -> str | None:
    """Judge one `except` clause."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    caught = {last_name(kind) if kind else "BaseException" for kind in kinds}
    if caught & BROAD and all(is_idle(statement) for statement in handler.body):
        return "swallows every error: name the one you expect, or handle it"
    if "BaseException" in caught and not any(isinstance(n, ast.Raise) for n in ast.walk(handler)):
        return "catches BaseException without raise: a cancellation would be lost"
    return None


def is_idle(statement: ast.stmt) -> bool:
    """Tell whether a statement does nothing about an error."""
    match statement:
        case ast.Pass() | ast.Continue() | ast.Break() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Return(value=None) | ast.Return(value=ast.Constant(value=None)):
            return True
        case _:
            return False


def last_name(node: ast.expr) -> str:
    """Return the last part of a dotted name, or nothing."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def sleeping_test(repository: Repository) -> Iterator[Spot]:
    """Refuse tests that wait for a time rather than for an event."""
    for path, line, node in repository.nodes(TESTS):
        if isinstance(node, ast.Call) and last_name(node.func) == "sleep" and is_fixed_delay(node):
            lines = repository.files[path].splitlines()[line - 1 : node.end_lineno]
            if not any("# why:" in text for text in lines):
                yield path, line, "sleeps: wait for the event, or say `# why:`"


def is_fixed_delay(call: ast.Call) -> bool:
    """Tell whether the delay is written in numbers only, and is not zero."""
    for delay in [*call.args, *(keyword.value for keyword in call.keywords)][:1]:
        parts = list(ast.walk(delay))
        variable = any(isinstance(part, ast.Name | ast.Attribute | ast.Call) for part in parts)
        return not variable and any(getattr(part, "value", 0) for part in parts)
    return False


def impure_core(repository: Repository) -> Iterator[Spot]:
    """Keep clock, chance, files, sockets and drivers out of the core."""
    for path, line, node in repository.nodes(CORE):
        for thing in impurities(node):
            yield path, line, f"{thing} in the core: what it gives must come in as argument"


def impurities(node: ast.AST) -> Iterator[str]:
    """Name what a core may not touch in one node."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names if IMPURE.match(alias.name))
        case ast.ImportFrom(module="uuid", names=[ast.alias(name="UUID")]):
            pass  # the value type alone draws no chance
        case ast.ImportFrom(module=str(module), level=0) if IMPURE.match(module):
            yield module
        case ast.Call(func=ast.Name(id="open")):
            yield "open()"
        case ast.Attribute(attr="now" | "utcnow" | "today" as clock, value=value):
            if last_name(value) in {"datetime", "date"}:
                yield f"{last_name(value)}.{clock}"


def untested_core(repository: Repository) -> Iterator[Spot]:
    """Give each file of the core its own test file, at the mirrored place."""
    for path in repository.trees:
        if path.startswith(CORE) and not path.endswith("/__init__.py"):
            folder, _, name = path.removeprefix(CORE).rpartition("/")
            test = join(CORE_TESTS, folder, f"test_{name}")
            if test not in repository.files:
                yield path, 1, f"has no test: {test} is missing"


def dead_file(repository: Repository) -> Iterator[Spot]:
    """Find modules that nothing in the repository imports."""
    home = {path: name for path in repository.trees if (name := module_name(path))}
    needed: set[str] = set()
    for path, tree in repository.trees.items():
        needed |= {name for name in named_modules(path, tree) if name != home.get(path)}
    for path, text in repository.files.items():
        if path.endswith("pyproject.toml"):
            needed |= set(re.findall(rf"[\"']({PACKAGE}[\w.]*):\w", text))
    for path, name in home.items():
        is_package = any(other.startswith(f"{name}.") for other in home.values())
        if name not in needed and not is_package and not path.endswith("/__main__.py"):
            yield path, 1, f"nobody imports {name}: use it or remove it"


def module_name(path: str) -> str | None:
    """Return the dotted name of a file of the package."""
    if not path.startswith(f"{PACKAGE_HOME}{PACKAGE}/"):
        return None
    name = path.removeprefix(PACKAGE_HOME).removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def named_modules(path: str, tree: ast.Module) -> Iterator[str]:
    """Name every module of ours that a file imports, lazily (as a string) too."""
    package = dirname(path.removeprefix(PACKAGE_HOME)).split("/")
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parents = package[: len(package) - level + 1] if level else []
                base = ".".join([*parents, *([module] if module else [])])
                yield base
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Constant(value=str(text)) if text.startswith(f"{PACKAGE}."):
                yield text.split(":")[0]


def broken_link(repository: Repository) -> Iterator[Spot]:
    """Follow every relative link of every Markdown file, anchors included."""
    for path, text in repository.files.items():
        if path.endswith(".md"):
            for line, target in links(text):
                if fault := link_fault(repository, path, target):
                    yield path, line, f"{target}: {fault}"


def links(text: str) -> Iterator[tuple[int, str]]:
    """Yield the relative targets of a Markdown text with their lines."""
    for number, line in unfenced(text):
        prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", line)
        for match in [*LINK.finditer(prose), *LINK_DEFINITION.finditer(prose)]:
            if not re.match(r"[a-z][a-z0-9+.-]*:|//", match[1], re.IGNORECASE):
                yield number, match[1]


def link_fault(repository: Repository, path: str, target: str) -> str | None:
    """Say what is wrong with a relative link, if anything."""
    name, _, anchor = unquote(target).partition("#")
    base = "" if name.startswith("/") else dirname(path)
    place = normpath(join(base, name.lstrip("/"))) if name else path
    if place not in repository.places:
        return "no such file"
    if anchor and place.endswith(".md") and anchor not in anchors(repository.files[place]):
        return "no such heading"
    return None


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of the headings, and those written by hand."""
    found = set(re.findall(r"<a (?:id|name)=[\"']([^\"']+)[\"']", text))
    for _, line in unfenced(text):
        if heading := re.match(r" {0,3}#{1,6}\s+(.*?)\s*#*\s*$", line):
            words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            again = (f"{slug}-{count}" for count in itertools.count(1))
            found.add(slug if slug not in found else next(s for s in again if s not in found))
    return found


def unfenced(text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a Markdown text that stand outside fenced code."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if mark := re.match(r"\s*(`{3,}|~{3,})", line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence):
                fence = ""
        elif not fence:
            yield number, line


def forbidden_text(repository: Repository) -> Iterator[Spot]:
    """Refuse what no tracked text may say."""
    for path, text in repository.files.items():
        for pattern, fault in FORBIDDEN_TEXT.items():
            for match in re.finditer(pattern, text):
                yield path, text.count("\n", 0, match.start()) + 1, f"{match[0]!r} {fault}"


def white_space(repository: Repository) -> Iterator[Spot]:
    """Keep invisible differences out: ends of lines, ends of files, tabs."""
    for path, text in repository.files.items():
        if text and not text.endswith("\n"):
            yield path, text.count("\n") + 1, "does not end with a newline"
        for number, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip():
                yield path, number, "ends in white space"
            if "\t" in line and path.endswith(".py"):
                yield path, number, "holds a tab"


Rule = Callable[[Repository], Iterator[Spot]]
RULES: list[Rule] = [
    file_length, function_length, syntax, vague_name, swallowed_error, sleeping_test,
    impure_core, untested_core, dead_file, broken_link, forbidden_text, white_space,
]  # fmt: skip


def findings(repository: Repository) -> list[str]:
    """Apply every rule; return `path:line: rule: text`, sorted by place."""
    spots = [(*spot, rule.__name__) for rule in RULES for spot in rule(repository)]
    return [f"{path}:{line}: {rule}: {text}" for path, line, text, rule in sorted(spots)]


def tracked_paths(root: Path) -> list[str]:
    """Ask git for the files that are, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True)
    return sorted({path for path in listed.stdout.split("\0") if (root / path).is_file()})


def read_repository(root: Path) -> Repository:
    """Read all tracked files below a root."""
    files, binaries = {}, set()
    for path in tracked_paths(root):
        content = (root / path).read_bytes()
        try:
            files[path] = content.decode()
        except UnicodeDecodeError:
            binaries.add(path)
    return Repository(files, frozenset(binaries))


def main(root: Path) -> int:
    """Print the findings; return the exit code."""
    found = findings(read_repository(root))
    sys.stdout.writelines(f"{finding}\n" for finding in found)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parent.parent))
