"""The user's own pairs: a parquet or JSONL file in the conversational schema that TRL takes as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from specs_lab.core.options import Checks, option
from specs_lab.data.constructions.base import Construction, Report
from specs_lab.data.records import PairRecord
from specs_lab.data.workshop import Workshop


@option("data", "file")
@dataclass(kw_only=True)
class UserFile(Construction):
    """Pairs read from a file; see :mod:`specs_lab.data.files` for what it may hold.

    Attributes:
        path: The file; pictures that it names lie in its folder, and are taken not to change as long as it does not.
        pairs: The most pairs that are read.
        rejected: Whether its rows have a rejected side; without, they serve SFT only.
        skip_broken: Leave broken rows out, counted by reason, instead of stopping.
    """

    path: str
    pairs: int = 1_000_000
    rejected: bool = True
    skip_broken: bool = False

    @property
    def file(self) -> Path:
        """The file; the stage's key depends on what is in it, not on where it lies."""
        return Path(self.path)

    @property
    def makes_rejected(self) -> bool:
        """Whether its rows have a rejected side."""
        return self.rejected

    @property
    def buckets(self) -> tuple[str, ...]:
        """None: its rows are no tasks of this study's problems."""
        return ()

    def checks(self) -> Checks:
        """The checks of all settings."""
        there = self.file.is_file()
        return super().checks().that(there, "path", f"there is no file '{self.path}'", "give a parquet or JSONL file")

    def records(self, shop: Workshop, report: Report = lambda _: None) -> list[PairRecord]:
        """Reads the pairs."""
        from specs_lab.data.files import read_user_pairs  # imports `datasets`

        pairs, counts = read_user_pairs(
            self.file, limit=self.pairs, needs_rejected=self.rejected, skip_broken=self.skip_broken
        )
        shop.counts.update(counts)
        report(len(pairs))
        return pairs
