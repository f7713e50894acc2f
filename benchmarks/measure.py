"""What every benchmark here has in common: figures, rounds that take turns, and one line of JSON.

The one rule: a figure is never told alone. A baseline runs beside it in the same run, both take
turns (A B A B ...) because the machine may be busy with other things, and medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

HERE = Path(__file__).resolve().parent
ROOT, BUILD = HERE.parent, HERE / "build"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One answer; `ratio` is value to baseline, None where there is nothing to compare with."""

    name: str
    value: float | None
    unit: str
    baseline: float | None
    goal: str
    """The ratio that we promise, for the reader: nothing here is asserted."""
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Compare value and baseline."""
        if self.value is None or not self.baseline:
            return None
        return self.value / self.baseline

    def document(self) -> dict[str, object]:
        """Return what is printed and kept."""
        return {
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "baseline": rounded(self.baseline),
            "ratio": rounded(self.ratio),
            "goal": self.goal,
            **self.extra,
        }


def rounded(number: float | None) -> float | None:
    """Keep four significant digits: more would be a claim."""
    if number is None or not number or not math.isfinite(number):
        return number
    return round(number, 3 - math.floor(math.log10(abs(number))))


def conclude(figures: Sequence[Figure]) -> None:
    """Print the last line of a benchmark: its first figure, and all of them in `figures`."""
    documents = [figure.document() for figure in figures]
    print(json.dumps({**documents[0], "figures": documents}), flush=True)


def tell(text: str) -> None:
    """Say on stderr how far we are."""
    print(text, file=sys.stderr, flush=True)


def options(description: str | None, *, seconds: float, repeat: int) -> argparse.ArgumentParser:
    """Make the parser of a benchmark with the two options that all have."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=seconds, help="length of one round")
    parser.add_argument("--repeat", type=int, default=repeat, help="rounds of each side")
    return parser


def take_turns(
    repeat: int, name: str, subject: Callable[[], T], baseline: Callable[[], T]
) -> tuple[list[T], list[T]]:
    """Run baseline and subject in turns; return the results of the subject, then the baseline's."""
    subjects: list[T] = []
    baselines: list[T] = []
    for turn in range(1, repeat + 1):
        baselines.append(baseline())
        subjects.append(subject())
        tell(f"{name}: round {turn} of {repeat}: {_brief(subjects)} against {_brief(baselines)}")
    return subjects, baselines


def _brief(results: Sequence[object]) -> str:
    last = results[-1]
    return f"{rounded(last):,.4g}" if isinstance(last, float) else str(last)


def spread(results: Sequence[float]) -> dict[str, object]:
    """Describe the rounds behind a median."""
    return {
        "rounds": [rounded(result) for result in results],
        "lowest": rounded(min(results)),
        "highest": rounded(max(results)),
    }


def rate(
    name: str, unit: str, subjects: Sequence[float], baselines: Sequence[float], goal: str
) -> Figure:
    """Make a figure of the medians of rounds."""
    return Figure(
        name,
        statistics.median(subjects),
        unit,
        statistics.median(baselines),
        goal,
        {"subject": spread(subjects), "against": spread(baselines)},
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of sorted values does not exceed."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def has_uvloop() -> bool:
    """Tell whether the loop will be uvloop's, as it is in `tidewire serve`."""
    return importlib.util.find_spec("uvloop") is not None


def run(main: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run a coroutine on the loop that the engine's own command would take."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


COMPILERS: dict[str, list[Sequence[str]]] = {
    ".c": [(compiler, "-O2", "-o") for compiler in ("cc", "gcc", "clang")],
    ".go": [("go", "build", "-o")],
}


def native(source: str) -> Path | None:
    """Compile a program of `native/`; None, and said so, where there is no compiler for it."""
    suffix = Path(source).suffix
    command = next((each for each in COMPILERS[suffix] if shutil.which(each[0])), None)
    if command is None:
        tell(f"skipped: there is no compiler ({COMPILERS[suffix][0][0]}) for native/{source}")
        return None
    BUILD.mkdir(exist_ok=True)
    program = BUILD / Path(source).stem
    subprocess.run([*command, program, HERE / "native" / source], check=True)
    return program


class Helper:
    """A process of ours that answers each line on stdin with one line on stdout."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Process id, for the reader of /proc."""
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def send(self, line: str) -> None:
        """Write one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read(self) -> str:
        """Wait for one line; the process's own words on stderr say why when there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return line.rstrip("\n")

    def ask(self, line: str) -> str:
        """Write one line and wait for the answer."""
        self.send(line)
        return self.read()


def python(module: str, *arguments: str) -> Helper:
    """Start a module of this folder as a process of its own."""
    return Helper([sys.executable, "-m", f"benchmarks.processes.{module}", *arguments])
