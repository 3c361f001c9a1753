"""Wall time of the main study before and after a change: ``python -m benchmarks.study --before REVISION``.

The package of each checkout is installed into a folder of its own, then the study is run by both in turn, each time
with an empty store. What follows ``--`` are more overrides, e.g. ``-- experiment=smoke``.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.duel import ROOT, environment
from benchmarks.results import machine, spread, write
from benchmarks.tables import table

OVERRIDES = ("-m", "coldstart=sft,dpo,hybrid")
_PACKAGE_PARTS = ("src", "conf", "pyproject.toml", "setup.py", "README.md", "LICENSE")
"""What it takes to build the package; all else of a checkout may be large and is left alone."""


class StudyFailed(RuntimeError):
    """A study ended with an error."""


@dataclass
class Version:
    """A version of the package, installed.

    Attributes:
        name: What it is called in the results.
        site: The folder that it is installed in.
        seconds: Wall times of its runs.
        cpu_seconds: Processor time of each run, all processes together: what a busy machine disturbs less.
        peak_mb: Of each run: peak resident memory of the largest of its processes, in MiB.
    """

    name: str
    site: Path
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    def run(self, overrides: Sequence[str], scratch: Path, threads: int) -> None:
        """Runs the study once, from nothing.

        Raises:
            StudyFailed: If it fails; with the end of what it printed.
        """
        folder = Path(tempfile.mkdtemp(dir=scratch, prefix=f"{self.name}-"))
        variables = {
            **os.environ,
            **environment(threads),
            "PYTHONPATH": str(self.site),
            "SPECS_LAB_CACHE": str(folder / "store"),
        }
        log = folder / "log.txt"
        start = time.perf_counter()
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "specs_lab.run", *overrides],
                cwd=folder,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            # `wait4` also tells of the processes that the study itself has started and waited for.
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
            raise StudyFailed(f"{self.name}: exit code {process.returncode}\n{tail}")
        self.seconds.append(seconds)
        self.cpu_seconds.append(usage.ru_utime + usage.ru_stime)
        self.peak_mb.append(usage.ru_maxrss / 1024)
        shutil.rmtree(folder)


def fetch(checkout: str, target: Path) -> None:
    """Copies what builds the package from a folder, or from a revision of this repository."""
    target.mkdir(parents=True)
    if Path(checkout).is_dir():
        for part in _PACKAGE_PARTS:
            source = Path(checkout) / part
            if source.is_dir():
                shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy2(source, target / part)
        return
    archive = subprocess.run(["git", "archive", checkout, *_PACKAGE_PARTS], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        sys.exit(f"'{checkout}' is neither a folder nor a revision: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as file:
        file.extractall(target, filter="data")


def install(name: str, checkout: str, scratch: Path) -> Version:
    """Installs a checkout's package; ``specs_lab.conf`` lies elsewhere than in it, so a path to ``src`` will not do."""
    source, site = scratch / f"{name}-source", scratch / f"{name}-site"
    fetch(checkout, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", "--target", str(site), str(source)], check=True)
    # Libraries are read once before anything is timed: the first run should not pay for a cold disk.
    warm = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", "import lightning, transformers, specs_lab.run"], env=warm, check=True)
    return Version(name, site)


def report(before: Version, after: Version, command: str, threads: int) -> dict[str, Any]:
    """The results of all runs."""
    sides = {
        version.name: {
            "seconds": spread(version.seconds),
            "cpu_seconds": spread(version.cpu_seconds),
            "peak_mb": median(version.peak_mb),
        }
        for version in (before, after)
    }
    return {
        "kind": "study",
        "machine": machine(),
        "settings": {"threads": threads},
        "command": command,
        "sides": sides,
        "ratio": median(before.seconds) / median(after.seconds),
        "cpu_ratio": median(before.cpu_seconds) / median(after.cpu_seconds),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Installs both, runs them in turn, writes and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--before", required=True, help="a checkout's folder, or a revision of this repository")
    parser.add_argument("--after", default=str(ROOT), help="the same (default: the working tree)")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "study.json")
    parser.add_argument("overrides", nargs="*", help="more overrides of the study, after --")
    options = parser.parse_args(arguments)
    overrides = [*OVERRIDES, *options.overrides]
    with tempfile.TemporaryDirectory(prefix="specs-lab-study-") as name:
        scratch = Path(name)
        before = install("before", options.before, scratch)
        after = install("after", options.after, scratch)
        for number in range(options.repeats):
            # Who is first changes each time, so that a drift of the machine favours neither.
            for version in (before, after) if number % 2 == 0 else (after, before):
                print(f"run {number + 1} of {options.repeats}: {version.name} ...", file=sys.stderr, flush=True)
                try:
                    version.run(overrides, scratch, options.threads)
                except StudyFailed as error:
                    print(error, file=sys.stderr)
                    return 1
                taken = f"{version.seconds[-1]:.1f} s ({version.cpu_seconds[-1]:.1f} s CPU)"
                print(f"  {taken}, {version.peak_mb[-1]:.0f} MiB", file=sys.stderr, flush=True)
    results = report(before, after, " ".join(["specs-lab", *overrides]), options.threads)
    write(results, options.out)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
