"""Picture features that a frozen vision tower has made, kept within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor

Features = tuple[Tensor, ...]
"""Of one prompt's pictures: (picture tokens, hidden) what replaces the placeholders, then what later layers add."""


class FeatureCache:
    """Features by key; those that were longest unused go first.

    Args:
        limit_bytes: Most memory that the features may take; what alone is larger is not kept at all.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._items: OrderedDict[str, Features] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def get(self, key: str) -> Features | None:
        """The features under a key, which now counts as just used; None if they are not kept."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: str, features: Features) -> None:
        """Keeps features, without their gradients' history, and drops others if the bound demands it."""
        if key in self._items:
            self.bytes -= _size(self._items.pop(key))
        # Copies: a slice of a batch's features would keep the whole batch alive.
        kept = tuple(part.detach().clone() for part in features)
        if _size(kept) > self.limit_bytes:
            return
        self._items[key] = kept
        self.bytes += _size(kept)
        while self.bytes > self.limit_bytes:
            _, dropped = self._items.popitem(last=False)
            self.bytes -= _size(dropped)

    def clear(self) -> None:
        """Forgets everything."""
        self._items.clear()
        self.bytes = 0


def _size(features: Features) -> int:
    return sum(part.numel() * part.element_size() for part in features)
