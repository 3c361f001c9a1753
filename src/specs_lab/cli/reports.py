"""After the work: the summary of a run or of a sweep, on the console and as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from specs_lab.tracking.rows import JOB_FILE


def report(folder: Path, jobs: Sequence[Path]) -> None:
    """Writes the summary of jobs and prints it; does nothing if no job got as far as leaving a record.

    Args:
        folder: Where the summary goes.
        jobs: The folders of the jobs.
    """
    if not any((job / JOB_FILE).is_file() for job in jobs):
        return
    from specs_lab.tracking.report import print_summary, summarise  # imports pandas and matplotlib

    print_summary(Console(), summarise(folder, list(jobs)))
