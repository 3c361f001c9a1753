"""What a piece of code does, as a hash: comments, docstrings and layout do not enter, everything else does.

A stage's key contains the fingerprint of the code that its result depends on, so that a changed loss makes its stages
anew and a reworded docstring does not. Sources are read, never imported (but for the package at the top), so this is
cheap and works from an installed wheel. A new minor version of Python may parse differently and makes everything anew.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path


def fingerprint(names: Iterable[str]) -> str:
    """The hash, in hex, of the code of packages and modules.

    Args:
        names: Dotted names, e.g. ``"specs_lab.objectives.dpo"``; a package stands for all modules below it.

    Raises:
        ModuleNotFoundError: If there is no such package or module.
    """
    hashes: dict[str, str] = {}
    for name in names:
        hashes.update(_module_hashes(name))
    return hashlib.sha256("\n".join(f"{name} {hashes[name]}" for name in sorted(hashes)).encode()).hexdigest()


def source_hash(source: str | bytes) -> str:
    """The hash, in hex, of the code of one module."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def modules(name: str) -> Iterator[tuple[str, Traversable]]:
    """(dotted name, source file) of a module, or of a package and all modules below it.

    Raises:
        ModuleNotFoundError: If there is no such package or module.
    """
    top, *rest = name.split(".")
    if not rest and (alone := _file_of_module(name)) is not None:
        yield name, alone
        return
    package = files(top)
    place = package.joinpath(*rest) if rest else package  # a namespace package cannot join nothing
    if place.is_dir():
        yield from _modules_below(name, place)
        return
    file = package.joinpath(*rest[:-1], f"{rest[-1]}.py")
    if not file.is_file():
        raise ModuleNotFoundError(f"there is no package or module '{name}' to take the fingerprint of")
    yield name, file


def _file_of_module(name: str) -> Path | None:
    """The source of a module that is in no package, as a small plugin may be; None if there is none of this name."""
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is not None or spec.origin is None:
        return None
    return Path(spec.origin)


def _modules_below(package: str, folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _modules_below(f"{package}.{entry.name}", entry)
        elif entry.name.endswith(".py"):
            yield f"{package}.{entry.name.removesuffix('.py')}", entry


@cache  # sources are taken not to change while a process runs
def _module_hashes(name: str) -> dict[str, str]:
    return {module: source_hash(file.read_bytes()) for module, file in modules(name)}


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string that nobody reads: a docstring, or the one below an attribute."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
