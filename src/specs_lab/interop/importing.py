"""Reads data sets of other trainers and writes them in the forms that are used here, a few rows at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.progress import Progress
from specs_lab.data.records import pair_features, pair_rows
from specs_lab.data.row_files import Account, count_rows, rows_of
from specs_lab.interop import easyr1, llama_factory
from specs_lab.interop.targets import appearing
from specs_lab.problems.rows import BrokenRow

if TYPE_CHECKING:
    from datasets import Features

T = TypeVar("T")
Make = Callable[[Mapping[str, Any], int], T]
_ROWS_AT_ONCE = 64


def import_llama_factory(
    file: Path,
    to: Path,
    *,
    images: Path | None = None,
    layout: llama_factory.Layout | None = None,
    skip_broken: bool = False,
    progress: Progress,
) -> Counter[str]:
    """Writes LLaMA-Factory's ShareGPT data as a file of pairs.

    Args:
        file: The data: ``.json``, ``.jsonl`` or ``.parquet``.
        to: The parquet file to write.
        images: Where paths of pictures start; by default the data file's folder.
        layout: Names of columns and tags; None: the usual ones.
        skip_broken: Leave rows out that cannot be used, instead of raising.
        progress: Told how far it is.

    Returns:
        Counts: ``rows`` that were read, and ``broken/<reason>``.

    Raises:
        UserError: With the broken rows, or if a file cannot be read, or one would be overwritten.
    """
    if to.suffix != ".parquet":
        raise UserError([Fault("--to", f"'{to}' does not end in .parquet", "name a .parquet file, e.g. pairs.parquet")])
    ids: set[str] = set()
    folder = images or file.parent
    account = Account(file, llama_factory.FIXES)
    with appearing(to) as draft, Parts(draft, pair_features(parts=True)) as parts:
        made = _made(account, lambda row, number: llama_factory.to_pair(row, number, folder, ids, layout), progress)
        usable = parts.write_all(made, lambda pairs: pair_rows(pairs, parts=True))
        account.close(usable, skip_broken=skip_broken)
    return account.counts


def import_easyr1(
    path: Path,
    to: Path,
    *,
    images: Path | None = None,
    keys: easyr1.Keys,
    skip_broken: bool = False,
    progress: Progress,
) -> dict[str, Counter[str]]:
    """Writes EasyR1's data as a folder of problems, a parquet file a split, which ``problems=local`` reads.

    Args:
        path: A file, or a folder with files named after their splits.
        to: The folder to write.
        images: Where paths of pictures start; by default the folder of the file that names them.
        keys: Names of columns.
        skip_broken: Leave rows out that cannot be used, instead of raising.
        progress: Told how far it is.

    Returns:
        Counts by split, as :func:`import_llama_factory` gives them.

    Raises:
        UserError: As :func:`import_llama_factory`.
    """
    counts: dict[str, Counter[str]] = {}
    splits = easyr1.find_splits(path)
    with appearing(to) as draft:
        draft.mkdir()
        for split, files in splits.items():
            counts[split] = Counter()
            ids: set[str] = set()
            with Parts(draft / f"{split}.parquet", easyr1.problem_features()) as parts:
                for file in files:
                    account = Account(file, easyr1.FIXES)
                    made = _made(account, _problem_maker(images or file.parent, ids, keys), progress)
                    account.close(parts.write_all(made, list), skip_broken=skip_broken)
                    counts[split] += account.counts
    return counts


def _problem_maker(folder: Path, ids: set[str], keys: easyr1.Keys) -> Make[dict[str, Any]]:
    """Makes problems of the rows of a file; those of later files of a split go on being numbered."""
    before = len(ids)
    return lambda row, number: easyr1.to_problem(row, before + number, folder, ids, keys)


def _made(account: Account, make: Make[T], progress: Progress) -> Iterator[T]:
    """What is made of the rows of a file; broken ones are put on its account."""
    path = account.path
    rows = rows_of(path, kinds=easyr1.KINDS)
    with progress.task(f"reading {path.name}", count_rows(path)) as advance:
        for where, number, row in rows:
            account.counts["rows"] += 1
            try:
                if isinstance(row, BrokenRow):
                    raise row
                yield make(row, number)
            except BrokenRow as broken:
                account.broken(where, number, broken)
            advance()


class Parts:
    """A parquet file that is written a few rows at a time; a context manager.

    Args:
        path: The file.
        features: Its columns.
    """

    def __init__(self, path: Path, features: Features) -> None:
        from pyarrow import parquet

        self._features = features
        self._writer = parquet.ParquetWriter(path, features.arrow_schema)

    def __enter__(self) -> Parts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write_all(self, items: Iterable[T], rows_of_items: Callable[[Sequence[T]], list[dict[str, Any]]]) -> int:
        """Writes a row for each item; returns how many there were."""
        from datasets import Dataset

        count = 0
        for some in chunks(items):
            rows = rows_of_items(some)
            columns = {name: [row[name] for row in rows] for name in self._features}
            table: Any = Dataset.from_dict(columns, features=self._features).data.table
            self._writer.write_table(table.cast(self._features.arrow_schema))
            count += len(rows)
        return count


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of a few items each."""
    rest = iter(items)
    while some := list(islice(rest, _ROWS_AT_ONCE)):
        yield some
