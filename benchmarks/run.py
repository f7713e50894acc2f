"""Run all benchmarks, or those that are named: `python benchmarks/run.py [NAME ...]`.

Prints a table with the facts of the machine and writes `results/<date>-<name>.json` for each. The
exit code tells only whether a benchmark broke down, never whether a figure is good.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import HERE, ROOT, has_uvloop, tell

NAMES = (
    "wal",
    "fanout",
    "latency",
    "mount",
    "snapshot",
    "shapes",
    "storm",
    "idle",
    "bigtxn",
    "restart",
    "wake",
    "oracle",
    "agents",
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the benchmarks and print one table.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, help="length of one round")
    parser.add_argument("--repeat", type=int, help="rounds of each side")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose of {', '.join(NAMES)}")
    given = {"--seconds": arguments.seconds, "--repeat": arguments.repeat}
    flags = [part for name, value in given.items() if value for part in (name, str(value))]
    facts = machine()
    results = {}
    for name in arguments.names or NAMES:
        tell(f"--- {name}")
        result = run(name, flags)
        if result is not None:
            results[name] = result
            keep(name, facts, result)
    print(table(facts, results))
    return int(len(results) < len(arguments.names or NAMES))


def run(name: str, flags: list[str]) -> dict[str, Any] | None:
    """Run one benchmark; its last line is the result, None when it broke down."""
    command = [sys.executable, str(HERE / f"{name}.py"), *flags]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        tell(f"{name}: broke down with {done.returncode}")
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def keep(name: str, facts: dict[str, object], result: dict[str, Any]) -> None:
    """Write one result for later comparison."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    path = HERE / "results" / f"{today}-{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": facts, **result}, indent=2) + "\n")
    tell(f"{name}: kept in {path.relative_to(ROOT)}")


# --- the machine ---


def machine() -> dict[str, object]:
    """Collect what a figure means nothing without."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "postgresql": postgresql(),
        "uvloop": has_uvloop(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def postgresql() -> str:
    from tidewire.errors import TidewireError
    from tidewire.postgres.binaries import find_binaries

    try:
        programs = find_binaries()
        return programs.run("postgres", "--version").strip()
    except TidewireError as error:
        return f"none: {error}"


# --- the table ---


def table(facts: dict[str, object], results: dict[str, dict[str, Any]]) -> str:
    """Lay all figures out for people."""
    lines = [f"{name:<12} {value}" for name, value in facts.items()]
    lines += ["", f"{'':<24}{'ours':>10}{'baseline':>12}  {'unit':<13}{'ratio':>7}  goal"]
    for result in results.values():
        for figure in result["figures"]:
            ours, against = number(figure["value"]), number(figure["baseline"])
            lines.append(
                f"{figure['name']:<24}{ours:>10}{against:>12}  {figure['unit']:<13}"
                f"{number(figure['ratio']):>7}  {figure['goal']}"
            )
    return "\n".join(lines)


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
