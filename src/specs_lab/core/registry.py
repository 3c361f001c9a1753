"""Named things, found by importing the package they live in.

A registry maps a name to an object (a class, a function, a dataclass type). The modules of one package register
themselves by a decorator; :meth:`Registry.discover` imports them all, so that adding an option means adding a file.
Modules of plugins (:data:`specs_lab.core.options.PLUGINS`) register theirs when they are imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from specs_lab.core.errors import Fault, UserError, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """The options of one kind, by name.

    Args:
        kind: What the options are, for messages, e.g. ``"problem family"``.
        package: The package whose modules register options; imported on first use.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._items: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers an object under ``name``.

        Raises:
            ValueError: If the name is taken by another object.
        """

        def add(item: T) -> T:
            if not getattr(item, "__module__", self._package).startswith(self._package):
                self.discover()  # a plugin's object must not take the name from one of the registry's own
            if name in self._items:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._items[name] = item
            return item

        return add

    def discover(self) -> None:
        """Imports every module of the registry's package, once."""
        if self._discovered:
            return
        self._discovered = True  # before the modules: they may look things up
        complete = False
        try:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            complete = True
        finally:  # if a module is broken, the next look-up says so again, instead of "there is no such thing"
            self._discovered = complete

    def names(self) -> list[str]:
        """The registered names, sorted."""
        self.discover()
        return sorted(self._items)

    def get(self, name: str) -> T:
        """The object registered under ``name``.

        Raises:
            UserError: If there is none; the message lists those that exist.
        """
        self.discover()
        if name not in self._items:
            raise UserError([Fault(self.kind, f"there is no '{name}'", suggest(name, self._items))])
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        self.discover()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        self.discover()
        return len(self._items)
