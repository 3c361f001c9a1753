r"""Splits algebraic text, in LaTeX or in plain syntax, into tokens from a short list; all else is refused.

Nothing else reaches the parser of :mod:`specs_lab.rewards.algebra.notation`: no ``\text``, no units, no quotes, no
names that could be taken for code. Prose is refused as well: letters next to each other are a product in LaTeX, so that
a general parser reads ``cat`` as ``c*a*t``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Set
from decimal import Decimal
from typing import NamedTuple

LONGEST_TEXT = 2000
"""Characters of a text; a longer one is refused unread."""

LONGEST_CLEAN = 400
"""Characters that are no white space."""

MOST_TOKENS = 250
MOST_DIGITS = 40
"""Digits of one number."""

ANY_LETTERS = frozenset(string.ascii_letters)
"""As ``variables``: letters that stand together are always a product."""


def _words(text: str) -> list[str]:
    return text.split()


CONSTANTS = frozenset({"e", "i", "\\pi"})

FUNCTIONS = {
    **{name: name for name in _words("sin cos tan cot sec csc sinh cosh tanh ln log exp sqrt abs")},
    **{f"arc{name}": f"arc{name}" for name in _words("sin cos tan cot sec csc")},
    **{f"a{name}": f"arc{name}" for name in _words("sin cos tan")},
    **{f"{prefix}{name}": f"ar{name}" for name in _words("sinh cosh tanh") for prefix in ("a", "ar", "arc")},
    "cosec": "csc",
    "lg": "log",
}
"""Names that are read as functions, and what each is called in canonical LaTeX."""

_GREEK = _words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell"
)
GREEK = {
    **{f"\\{name}": f"\\{name}" for name in _GREEK},
    **{f"\\var{name}": f"\\{name}" for name in _words("epsilon theta rho sigma phi")},
}
"""Commands that are variables. Two shapes of one letter are one variable."""

VARIABLE = re.compile(
    rf"(?P<name>(?:\\(?:{'|'.join(_GREEK)})(?![A-Za-z])|[A-Za-z])(?:_\{{[^{{}}]*\}})?)|(?P<command>\\[A-Za-z]+)"
)
"""Finds the variables, and ``e`` and ``i``, of canonical LaTeX, and every other command."""

_COMMANDS = {
    **{f"\\{name}": ("function", FUNCTIONS[name]) for name in FUNCTIONS if name not in ("sqrt", "abs")},
    **{name: ("variable", letter) for name, letter in GREEK.items()},
    **{name: ("symbol", "*") for name in ("\\cdot", "\\times", "\\ast")},
    **{name: ("relation", "\\le") for name in ("\\le", "\\leq", "\\leqslant")},
    **{name: ("relation", "\\ge") for name in ("\\ge", "\\geq", "\\geqslant")},
    **{name: ("relation", "\\ne") for name in ("\\ne", "\\neq")},
    **{name: ("fraction", "") for name in ("\\frac", "\\dfrac", "\\tfrac", "\\cfrac")},
    **{name: ("binomial", "") for name in ("\\binom", "\\dbinom", "\\tbinom")},
    "\\vert": ("symbol", "|"),
    **{name: ("symbol", name) for name in ("\\lvert", "\\rvert")},
    "\\lt": ("relation", "<"),
    "\\gt": ("relation", ">"),
    "\\lbrack": ("symbol", "["),
    "\\rbrack": ("symbol", "]"),
    "\\div": ("symbol", "/"),
    "\\sqrt": ("function", "sqrt"),
    "\\pi": ("constant", "\\pi"),
    "\\infty": ("infinity", "\\infty"),
}
_SYMBOLS = {
    **{character: ("symbol", character) for character in "+-*/^_!()[]{}|"},
    **{sign: ("relation", sign) for sign in "=<>"},
    "**": ("symbol", "^"),
    "<=": ("relation", "\\le"),
    ">=": ("relation", "\\ge"),
}
_PLAIN_NAMES = {
    **{name: ("function", canonical) for name, canonical in FUNCTIONS.items()},
    "pi": ("constant", "\\pi"),
    "theta": ("variable", "\\theta"),
    "infinity": ("infinity", "\\infty"),
}

_SUPERSCRIPTS = dict(
    zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207f", "0123456789-n", strict=True)
)
_RAISED = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_GREEK_LETTERS = zip(
    "\u03b1\u03b2\u03b3\u03b4\u03b5\u03b6\u03b7\u03b8\u03bb\u03bc\u03bd\u03be\u03c0\u03c1\u03c3\u03c4\u03c6\u03c7\u03c8\u03c9\u0394\u03a3\u03a6\u03a9\u03d5",
    _words(
        "alpha beta gamma delta epsilon zeta eta theta lambda mu nu xi pi rho sigma tau phi chi psi omega "
        "Delta Sigma Phi Omega phi"
    ),
    strict=True,
)
_UNICODE = str.maketrans(
    {
        **{letter: f"\\{name} " for letter, name in _GREEK_LETTERS},
        **dict.fromkeys("\u00d7\u00b7\u22c5\u2217", "*"),
        **dict.fromkeys("\u00a0\u2009\u202f", " "),
        "\u2212": "-",
        "\u00f7": "/",
        "\u221a": "\\sqrt ",
        "\u221e": "\\infty ",
        "\u2264": "\\le ",
        "\u2265": "\\ge ",
        "\u2260": "\\ne ",
    }
)

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | ~ | \\[,;:!>\ ] | \\(?:quad|qquad|displaystyle)(?![A-Za-z]) )
  | \\(?P<fence>left|right|[bB]igg?[lr]?) \s*
        (?P<bracket> [()\[\]|] | \\(?:[lr]?vert|[lr]brack)(?![A-Za-z]) )
  | \\(?:mathrm|operatorname) \s* \{ \s* (?P<roman>[A-Za-z]+) \s* \}
  | (?P<command> \\[A-Za-z]+ )
  | (?P<number>
        (?: [0-9]{1,3} (?: (?:,|\{,\}) [0-9]{3} )+ (?![0-9]) (?:\.[0-9]+)? | [0-9]+ (?:\.[0-9]+)? | \.[0-9]+ )
        (?: [eE][0-9]{1,3} (?![0-9.]) )?
    )
  | (?P<run> [A-Za-z]+ )
  | (?P<symbol> \*\* | <= | >= | [-+*/^_!()\[\]{}|=<>] )
    """,
    re.VERBOSE | re.ASCII,
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9+\-]{0,11}"
_SUBSCRIPT = re.compile(
    rf"\s*_\s*(?: (?P<bare>[A-Za-z](?![A-Za-z]{{2}})|[0-9]{{1,9}}(?![0-9])) | \{{\s*(?P<braced>{_NAME})\s*\}}"
    rf" | (?P<open>\{{)?\s*\\(?:text|mathrm)\s*\{{\s*(?P<text>{_NAME})\s*\}}\s*(?(open)\}}) )",
    re.VERBOSE | re.ASCII,
)

_NO_PRODUCTS = frozenset(
    _words(
        "ad am an as be by do dt dx dy dz ex go he hi if in is me my no of oh ok on or so to up us we "
        "cm db dl dm ft gb hz kb kg kj kl km kw lb mb mg ml mm nm oz yd hrs kph kwh lbs mph nth pcs phd rpm"
    )
)
"""Words and units of letters that could be products; in lower case."""

_SPOKEN = frozenset("aeiouyAEIOUY")
_LONGEST_PRODUCT = 4


class Token(NamedTuple):
    """A part of an expression.

    Attributes:
        kind: ``number``, ``variable``, ``constant``, ``infinity``, ``function``, ``fraction``, ``binomial``,
            ``relation`` or ``symbol``.
        text: Which one, in canonical LaTeX.
    """

    kind: str
    text: str


class Refused(Exception):
    """The text is no expression, or one that could cost too much."""


def tokenize(text: str, variables: Set[str] | None = None) -> list[Token]:
    """The tokens of a text, in time linear in its length.

    Args:
        text: The text.
        variables: Letters that may stand next to each other as a product, see :func:`letters`.

    Raises:
        Refused: If any part of the text is no known token, or there is too much of it.
    """
    if len(text) > LONGEST_TEXT:
        raise Refused("too long")
    text = _RAISED.sub(lambda raised: "^{" + "".join(map(_SUPERSCRIPTS.get, raised.group())) + "}", text)  # type: ignore[arg-type]
    text = text.translate(_UNICODE)
    if len("".join(text.split())) > LONGEST_CLEAN:
        raise Refused("too long")
    tokens = list(_tokens(text, variables))
    if not 0 < len(tokens) <= MOST_TOKENS:
        raise Refused("nothing" if not tokens else "too long")
    return tokens


def _tokens(text: str, variables: Set[str] | None) -> Iterator[Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Refused(f"{text[position]!r} is no mathematics")
        position = match.end()
        found = list(_read(match, variables))
        if found and found[-1].kind in ("variable", "constant") and found[-1].text != "\\pi":
            subscript = _SUBSCRIPT.match(text, position)
            if subscript is not None:
                position = subscript.end()
                name = subscript["bare"] or subscript["braced"] or subscript["text"]
                found[-1] = Token("variable", f"{found[-1].text}_{{{name}}}")
        yield from found


def _read(match: re.Match[str], variables: Set[str] | None) -> Iterator[Token]:
    """The tokens of one match of the pattern."""
    if match["number"]:
        yield Token("number", _number(match["number"]))
    elif match["run"]:
        yield from letters(match["run"], variables)
    elif match["fence"]:
        bracket = match["bracket"]
        if bracket in ("|", "\\vert") and match["fence"][-1] in "lrt":  # \left, \right, \bigl, \bigr say which it is
            side = "r" if match["fence"] == "right" or match["fence"].endswith("r") else "l"
            yield Token("symbol", f"\\{side}vert")
        else:
            yield _known(_COMMANDS if bracket.startswith("\\") else _SYMBOLS, bracket)
    elif match["roman"]:
        yield Token("constant", match["roman"]) if match["roman"] in CONSTANTS else _known(_PLAIN_NAMES, match["roman"])
    elif match["command"]:
        yield _known(_COMMANDS, match["command"])
    elif match["symbol"]:
        yield _known(_SYMBOLS, match["symbol"])


def _known(names: dict[str, tuple[str, str]], name: str) -> Token:
    if name not in names:
        raise Refused(f"{name} is not understood")
    return Token(*names[name])


def _number(text: str) -> str:
    """Digits with a decimal point, without separators of thousands, leading zeros and an exponent."""
    plain = f"{Decimal(text.replace('{,}', '').replace(',', '')):f}"
    whole, point, decimals = plain.partition(".")
    number = (whole.lstrip("0") or "0") + point + decimals
    if len(number) > MOST_DIGITS:
        raise Refused("a number of too many digits")
    return number


def letters(run: str, variables: Set[str] | None = None) -> Iterator[Token]:
    """Letters that stand together: a name such as ``sin``, or variables multiplied with each other.

    A single letter is a variable, but for ``e`` and ``i``. Several are a product only if

    - all are among ``variables`` (besides ``e``, ``i`` and names such as ``sin``), where these are given: the variables
      of the gold answer;
    - else, if they are too few for a word (two letters), have no vowel (``mgh``, at most four) or follow each other in
      the alphabet (``abc``), and are no word or unit on a list; or consist of x, y, z and names (``xsinx``).

    Raises:
        Refused: If they are a word.
    """
    if run in _PLAIN_NAMES:
        yield Token(*_PLAIN_NAMES[run])
    elif variables is not None and f"\\{run}" in variables:
        yield Token("variable", f"\\{run}")
    elif variables is not None:
        yield from _segments(run, {name[0] for name in variables} | CONSTANTS)
    elif len(run) == 1 or _product(run):
        yield from map(_letter, run)
    else:
        yield from _segments(run, frozenset("xyz"))


def _segments(run: str, allowed: Set[str]) -> Iterator[Token]:
    """The longest known names from left to right, and between them letters that are allowed."""
    start = 0
    while start < len(run):
        for end in range(min(len(run), start + 8), start + 1, -1):
            if run[start:end] in _PLAIN_NAMES:
                yield Token(*_PLAIN_NAMES[run[start:end]])
                start = end
                break
        else:
            if len(run) > 1 and run[start] not in allowed:
                raise Refused(f"{run} is a word")
            yield _letter(run[start])
            start += 1


def _letter(letter: str) -> Token:
    return Token("constant" if letter in CONSTANTS else "variable", letter)


def _product(run: str) -> bool:
    if len(run) > _LONGEST_PRODUCT or run.lower() in _NO_PRODUCTS:
        return False
    in_order = run in string.ascii_lowercase or run in string.ascii_uppercase
    return len(run) == 2 or in_order or not _SPOKEN.intersection(run)
