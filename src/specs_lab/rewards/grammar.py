r"""Response formats as small grammars, and the one matcher that reads them all.

A format is a sequence of elements: sections between tags of their own (``<think> … </think>``) and, as the last one
if at all, free text with a ``\boxed{…}``. What counts:

- Every tag of the format occurs exactly once, in the format's order, spelt exactly. Other tags are text.
- A section shows something; between and around sections nothing shows. White space and characters without width show
  nothing, see :func:`specs_lab.rewards.text.blank`.
- Free text contains exactly one box, complete and not empty; any text may surround it. Boxes inside sections are text.
- A box ends at the brace that balances its own. As in TeX, ``\{`` and ``\}`` are no braces and ``\\`` is a line break,
  so ``\\boxed{7}`` is no box. Boxes within a box are part of its content: ``\boxed{\boxed{7}}`` is one box with the
  content ``\boxed{7}``. A box that is never closed is one box too many, wherever it stands. Braces and inner boxes
  alone are no content.

Reading looks for fixed strings only, from left to right and without going back, so it takes time linear in the length
of the text. The usual regular expressions with lazy wild cards backtrack on hostile responses, and rewards read
whatever a policy happens to sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from specs_lab.rewards.text import blank, strip

_BOX = r"\boxed{"


class Parts(NamedTuple):
    """What a response says, apart from how it is written.

    Attributes:
        reasoning: The derivation, without surrounding white space.
        answer: The final answer, without surrounding white space.
    """

    reasoning: str
    answer: str


@dataclass(frozen=True)
class Section:
    """An element of a format: text between an opening and a closing tag.

    Attributes:
        name: The tags' name, a word.
    """

    name: str

    @property
    def opening(self) -> str:
        """The tag in front of the section."""
        return f"<{self.name}>"

    @property
    def closing(self) -> str:
        """The tag behind the section."""
        return f"</{self.name}>"


@dataclass(frozen=True)
class BoxedText:
    r"""An element of a format: free text that contains exactly one ``\boxed{…}``."""


class Box(NamedTuple):
    r"""An outermost ``\boxed{…}`` in a text.

    Attributes:
        start: Index of its first character.
        stop: Index behind its closing brace, or of the end of the searched text if it is not closed.
        content: What is in it, or None if it is not closed.
    """

    start: int
    stop: int
    content: str | None


def _tokenizer(strings: Iterable[str]) -> re.Pattern[str]:
    """Finds the next of some fixed strings."""
    return re.compile("|".join(map(re.escape, strings)))


_BOX_TOKENS = _tokenizer(["\\\\", _BOX])
_BRACE_TOKENS = _tokenizer(["\\\\", "\\{", "\\}", "{", "}"])


def _closing_brace(text: str, start: int, stop: int) -> int | None:
    """Index of the brace that balances one just before ``start``."""
    depth = 1
    for token in _BRACE_TOKENS.finditer(text, start, stop):
        piece = token[0]
        if piece == "}":
            depth -= 1
            if not depth:
                return token.start()
        elif piece == "{":
            depth += 1
    return None


def boxes(text: str, start: int = 0, stop: int | None = None) -> Iterator[Box]:
    """The outermost boxes of ``text[start:stop]``, in order; all but the last one are closed."""
    stop = len(text) if stop is None else stop
    while token := _BOX_TOKENS.search(text, start, stop):
        start = token.end()
        if token[0] != _BOX:  # a line break
            continue
        closing = _closing_brace(text, start, stop)
        if closing is None:
            yield Box(token.start(), stop, None)
            return
        yield Box(token.start(), closing + 1, text[start:closing])
        start = closing + 1


def _sole(found: Iterator[Box]) -> Box | None:
    """The box, if there is only one and it is closed."""
    first, second = next(found, None), next(found, None)
    return None if first is None or first.content is None or second is not None else first


def _content(box: Box | None) -> str | None:
    """What a box shows, without surrounding white space; None if nothing."""
    if box is None or box.content is None:
        return None
    content = strip(box.content)
    shown = content.replace(_BOX, "").replace("{", "").replace("}", "") if "{" in content else content
    return None if blank(shown) else content


@dataclass(frozen=True)
class Format:
    r"""A form that responses can have.

    Attributes:
        elements: What follows on what. The last one states the answer; only that one may be a :class:`BoxedText`.

    Raises:
        ValueError: If there is no element, a section's name is no word or is given twice, or boxed text is not last.

    Example:
        ``Format((Section("think"), BoxedText()))`` is ``<think> 3+4 </think> It is \boxed{7}.``
    """

    elements: tuple[Section | BoxedText, ...]

    def __post_init__(self) -> None:
        names = [element.name for element in self.elements if isinstance(element, Section)]
        if not self.elements or any(isinstance(element, BoxedText) for element in self.elements[:-1]):
            raise ValueError("a format has at least one element, and boxed text only as the last one")
        if len(set(names)) < len(names) or not all(map(str.isidentifier, names)):
            raise ValueError(f"the names of a format's sections are words, each used once, not {names}")

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The tags, in the order in which they must occur."""
        sections = (element for element in self.elements if isinstance(element, Section))
        return tuple(tag for section in sections for tag in (section.opening, section.closing))

    @cached_property
    def boxed(self) -> bool:
        """Whether the answer is in a box."""
        return isinstance(self.elements[-1], BoxedText)

    @cached_property
    def _tag_tokens(self) -> re.Pattern[str]:
        return _tokenizer(self.tags)

    def parse(self, text: str) -> Parts | None:
        """Takes a text that follows the format apart.

        Returns:
            What its parts say, or None if the format is not followed exactly. The reasoning is what the sections
            before the answer say; if there are none, the text around the box, which may be empty.
        """
        stretches = self._between_tags(text)
        if stretches is None:
            return None
        outside, said = stretches[::2], [strip(stretch) for stretch in stretches[1::2]]
        if any(map(blank, said)):
            return None
        if self.boxed:
            prose = outside.pop()
            box = _sole(boxes(prose))
            answer = _content(box)
            if box is None or answer is None:
                return None
            reasoning = said if self.tags else [strip(prose[: box.start] + prose[box.stop :])]
        else:
            *reasoning, answer = said
        return Parts("\n\n".join(reasoning), answer) if all(map(blank, outside)) else None

    def _between_tags(self, text: str) -> list[str] | None:
        """What is before, between and after the tags; None if these are not exactly those of the format."""
        stretches: list[str] = []
        start = 0
        for tag in self.tags:
            position = text.find(tag, start)
            if position < 0 or text.count(tag) != 1:
                return None
            stretches.append(text[start:position])
            start = position + len(tag)
        stretches.append(text[start:])
        return stretches

    def share(self, text: str) -> float:
        """How much of the format is followed, in [0, 1]; 1 only if all of it is.

        Each of the ``n`` demanded tokens (tags, and the box) that occurs exactly once earns 1 / (n + 1), wherever it
        stands and whatever is in it; following the format as a whole earns the rest. A box counts outside of the
        sections only.
        """
        present = sum(text.count(tag) == 1 for tag in self.tags) + (self.boxed and self._free_box(text) is not None)
        return (present + (self.parse(text) is not None)) / (len(self.tags) + self.boxed + 1)

    def answer(self, text: str) -> str | None:
        """What stands in the place that the format demands for the answer, whatever the rest looks like.

        Returns:
            The content of the answer's section or box, or None unless it shows something, is complete, is the only
            one, and comes after all reasoning: no reasoning tag follows, and none is left open before. Reasoning tags
            may be missing, and text may stand anywhere.
        """
        start = self._end_of_reasoning(text)
        if start is None:
            return None
        if self.boxed:
            box = self._free_box(text)
            return None if box is None or box.start < start else _content(box)
        opening, closing = self.tags[-2:]
        if text.count(opening) != 1 or text.count(closing) != 1:
            return None
        opened, closed = text.index(opening), text.index(closing)
        if not start <= opened < closed:
            return None
        answer = strip(text[opened + len(opening) : closed])
        return answer if not blank(answer) else None

    def _end_of_reasoning(self, text: str) -> int | None:
        """Index behind the last tag that belongs to reasoning, 0 if there is none; None if that one opens a section."""
        tags = self.tags if self.boxed else self.tags[:-2]
        start, last = max(((text.rfind(tag), tag) for tag in tags), default=(-1, ""))
        if start < 0:
            return 0
        return start + len(last) if last.startswith("</") else None

    def _free_box(self, text: str) -> Box | None:
        """The box, if exactly one is outside of all sections and it is closed; no box reaches across a tag."""
        return _sole(box for start, stop in self._outside(text) for box in boxes(text, start, stop))

    def _outside(self, text: str) -> Iterator[tuple[int, int]]:
        """Where a text is in no section: neither right behind a tag that opens one nor right before one that closes it.

        A section whose opening tag is missing, as when the prompt ends with it, thus begins with the text.
        """
        start: int | None = 0
        for token in self._tag_tokens.finditer(text) if self.tags else ():
            closes = token[0].startswith("</")
            if start is not None and not closes:
                yield start, token.start()
            start = token.end() if closes else None
        if start is not None:
            yield start, len(text)
