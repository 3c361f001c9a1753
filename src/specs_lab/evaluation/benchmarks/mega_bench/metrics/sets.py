"""Metrics of sets, which may be texts with or without brackets and quotes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from specs_lab.evaluation.benchmarks.mega_bench.registry import metric
from specs_lab.evaluation.benchmarks.mega_bench.values import as_set, share

_LEFT_OUT = str.maketrans("", "", " -\n\t_.")


def lower(value: Any) -> Any:
    """In lower case, if it is a text; of a tuple each part."""
    if isinstance(value, tuple):
        return tuple(lower(one) for one in value)
    return value.lower() if isinstance(value, str) else value


def _folded(value: Any) -> Any:
    """In lower case as text; the parts of pairs and the like also without spaces and hyphens."""
    if isinstance(value, tuple):
        return tuple(_folded(one).translate(_LEFT_OUT) if not isinstance(one, tuple) else _folded(one) for one in value)
    return str(value).lower()


@metric("set_equality")
def same_set(given: Any, gold: Any) -> float:
    """The same elements, in any order."""
    return float(as_set(given) == as_set(gold))


def _same_folded(given: Any, gold: Any, split: Callable[[Any], frozenset[Any]]) -> float:
    return float({lower(one) for one in split(given)} == {lower(one) for one in split(gold)})


@metric("set_equality_case_insensitive")
def same_set_folded(given: Any, gold: Any) -> float:
    """The same elements but for case."""
    return _same_folded(given, gold, as_set)


@metric("str_set_equality_comma")
def same_set_of_commas(given: Any, gold: Any) -> float:
    """The same elements but for case, of texts with commas."""
    return _same_folded(given, gold, as_set)


@metric("str_set_equality_line_break")
def same_set_of_lines(given: Any, gold: Any) -> float:
    """The same lines but for case and order."""

    def lines(value: Any) -> frozenset[str]:
        return frozenset(str(value).replace("\\n", "\n").split("\n"))

    return _same_folded(given, gold, lines)


def _jaccard(given: frozenset[Any], gold: frozenset[Any]) -> float:
    return share(len(given & gold), len(given | gold))


@metric("jaccard_index")
def jaccard(given: Any, gold: Any) -> float:
    """Elements in common as a share of all elements of both."""
    wanted = as_set(gold)
    return 0.0 if given is None else _jaccard(as_set(given), wanted)


@metric("jaccard_index_case_insensitive")
def jaccard_folded(given: Any, gold: Any) -> float:
    """As ``jaccard_index``, but for case; in pairs and the like also but for spaces, hyphens and full stops."""
    wanted = frozenset(_folded(one) for one in as_set(gold))
    return 0.0 if given is None else _jaccard(frozenset(_folded(one) for one in as_set(given)), wanted)


@metric("chess_move_list_jaccard_index")
def jaccard_of_moves(given: Any, gold: Any) -> float:
    """As ``jaccard_index``, of chess moves without the marks behind them for good moves and mate."""

    def moves(value: Any) -> frozenset[str]:
        return frozenset(str(one).removesuffix("!").removesuffix("#") for one in as_set(value))

    wanted = moves(gold)
    return 0.0 if given is None else _jaccard(moves(given), wanted)


@metric("set_precision")
def precision(given: Any, gold: Any) -> float:
    """The share of the elements that are right ones; of no elements 0, unless there are no right ones."""
    wanted, named = as_set(gold), as_set(given)
    return share(len(named & wanted), len(named)) if named or not wanted else 0.0
