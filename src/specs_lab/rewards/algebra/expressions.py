"""Parses tokens into one algebraic expression, written as unambiguous LaTeX, or refuses them.

By recursive descent without going back, in time linear in the number of tokens. The conventions, for what TeX or plain
syntax leave open, are those of :mod:`specs_lab.rewards.algebra.notation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from specs_lab.rewards.algebra import nodes
from specs_lab.rewards.algebra.nodes import Node
from specs_lab.rewards.algebra.symbols import Refused, Token

DEEPEST = 50
"""How far expressions may be within each other; brackets count twice, so that there may be 25 of them."""

_OPENING = {"(": ")", "[": "]", "{": "}", "\\lvert": "\\rvert"}
_ARCS = {"sin", "cos", "tan", "cot", "sec", "csc"}
_AREAS = {"sinh", "cosh", "tanh"}
_CONSTANTS = {"e": complex(math.e), "i": 1j, "\\pi": complex(math.pi)}


class _Parser:
    """Reads one expression from tokens, by recursive descent without going back."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = list(tokens)
        self._next = 0
        self._depth = 0
        self._in_bars = False  # whether the next | closes an absolute value

    def whole(self) -> Node:
        """The expression that all tokens together are."""
        node = self._infinity() or self._sum()
        if self._next < len(self._tokens):
            raise Refused(f"{self._peek().text} where an expression should have ended")
        return node

    def _peek(self, ahead: int = 0) -> Token:
        index = self._next + ahead
        return self._tokens[index] if index < len(self._tokens) else Token("end", "")

    def _at(self, *symbols: str) -> bool:
        token = self._peek()
        return token.kind == "symbol" and token.text in symbols

    def _take(self) -> Token:
        token = self._peek()
        self._next += 1
        return token

    def _expect(self, symbol: str) -> None:
        if not self._at(symbol):
            raise Refused(f"{symbol} is missing")
        self._next += 1

    def _infinity(self) -> Node | None:
        if self._tokens[-1].kind != "infinity" or len(self._tokens) > 2:
            return None
        sign = self._take().text if len(self._tokens) == 2 else "+"
        if sign not in ("+", "-"):
            raise Refused("infinity in an expression")
        self._next = len(self._tokens)
        return Node("-\\infty" if sign == "-" else "\\infty")

    def _within(self, closing: str) -> Node:
        """A sum up to the closing bracket, the opening one being taken."""
        bars, self._in_bars = self._in_bars, closing == "|"
        node = self._sum()
        self._in_bars = bars
        self._expect(closing)
        return node

    def _sum(self) -> Node:
        self._deeper(1)
        node = self._term()
        while self._at("+", "-"):
            sign = self._take().text
            node = nodes.add(node, self._term(), sign)
        self._deeper(-1)
        return node

    def _deeper(self, levels: int) -> None:
        self._depth += levels
        if self._depth > DEEPEST:
            raise Refused("too many brackets")

    def _signed(self, read: Callable[[], Node]) -> Node:
        negative = False
        while self._at("+", "-"):
            negative ^= self._take().text == "-"
        node = read()
        return nodes.negate(node) if negative else node

    def _term(self) -> Node:
        return self._signed(self._product)

    def _product(self) -> Node:
        node = last = self._juxtaposed()
        while True:
            if self._at("*"):
                self._take()
                last = self._signed(self._juxtaposed)
                node = nodes.multiply(node, last)
            elif self._at("/"):
                self._take()
                numbers = last.form and self._peek().kind == "number"
                last = self._signed(self._factor if numbers else self._juxtaposed)
                node = nodes.divide(node, last)
                if numbers and self._starts_factor() and self._peek().kind != "number":
                    node = nodes.multiply(node, self._juxtaposed())
            else:
                return node

    def _juxtaposed(self) -> Node:
        node = self._factor()
        first = node
        while self._starts_factor():
            right = self._factor()
            if right.form in ("integer", "decimal"):
                raise Refused("a number after a factor")
            mixed = node is first and first.form == "integer" and right.form == "proper"
            node = nodes.add(node, right) if mixed else nodes.multiply(node, right)
        return node

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token.kind == "symbol":
            return token.text in _OPENING or (token.text == "|" and not self._in_bars)
        return token.kind in ("number", "variable", "constant", "function", "fraction", "binomial")

    def _factor(self) -> Node:
        node = self._atom()
        raised = False
        while self._at("^", "!"):
            if self._take().text == "!":
                if self._at("!"):
                    raise Refused("a double factorial")
                node, raised = nodes.factorial(node), False
            elif raised:
                raise Refused("a superscript on a superscript")
            else:
                node, raised = nodes.power(node, self._exponent()), True
        return node

    def _exponent(self) -> Node:
        return self._within("}") if self._opens("{") else self._signed(self._atom)

    def _opens(self, *symbols: str) -> bool:
        """Takes an opening bracket if there is one."""
        found = self._at(*symbols)
        self._next += found
        return found

    def _atom(self) -> Node:
        self._deeper(1)
        node = self._operand(self._take())
        self._deeper(-1)
        return node

    def _operand(self, token: Token) -> Node:
        if token.kind == "number":
            return nodes.number(token.text)
        if token.kind == "variable":
            return Node(token.text)
        if token.kind == "constant":
            return Node(token.text, value=_CONSTANTS[token.text])
        if token.kind == "fraction":
            return nodes.divide(self._piece(), self._piece())
        if token.kind == "binomial":
            return nodes.binomial(self._piece(), self._piece())
        if token.kind == "function":
            return self._square_root() if token.text == "sqrt" else self._function(token.text)
        if token.kind == "symbol" and token.text == "|":
            return nodes.apply("abs", self._within("|"))
        if token.kind == "symbol" and token.text in _OPENING:
            node = self._within(_OPENING[token.text])
            return nodes.apply("abs", node) if token.text == "\\lvert" else node._replace(form="")
        raise Refused(f"{token.text or 'an end'} where a number or a variable should be")

    def _piece(self) -> Node:
        r"""An argument in braces, or what TeX takes without: one digit, letter or symbol, as in ``\frac12``."""
        if self._opens("{"):
            return self._within("}")
        token = self._peek()
        if token.kind not in ("number", "variable", "constant") or "." in token.text:
            raise Refused("an argument without braces")
        if token.kind == "number" and len(token.text) > 1:
            self._tokens[self._next] = Token("number", token.text[1:])
            return nodes.number(token.text[0])
        return self._atom()

    def _square_root(self) -> Node:
        index = self._within("]") if self._opens("[") else None
        return nodes.root(self._within("}") if self._opens("{") else self._atom(), index)

    def _function(self, name: str) -> Node:
        base = self._base() if name == "log" and self._opens("_") else None
        exponent = self._exponent() if self._opens("^") else None
        if exponent is not None and exponent.text == "-1" and name in _ARCS | _AREAS:
            name, exponent = (f"arc{name}" if name in _ARCS else f"ar{name}"), None
        argument = self._atom() if self._at(*_OPENING, "|") else self._bare()
        node = nodes.apply(name, argument, base)
        return node if exponent is None else nodes.power(node, exponent)

    def _base(self) -> Node:
        if self._opens("{"):
            return self._within("}")
        following = self._peek(1)
        alone = following.kind == "end" or (following.kind == "symbol" and following.text not in _OPENING)
        return self._piece() if alone else self._atom()  # \log_28 is to the base 2, log_10 x to the base 10

    def _bare(self) -> Node:
        """The argument of a function without brackets."""
        if self._at("+", "-"):
            return self._signed(self._bare)
        node = self._factor()
        while self._starts_factor() and self._peek().kind != "function" and not self._at("(", "[", "|", "\\lvert"):
            right = self._factor()
            if right.form in ("integer", "decimal"):
                raise Refused("a number after a factor")
            node = nodes.multiply(node, right)
        if node.form and self._at("(", "["):
            raise Refused("a number after a function, and then a bracket")
        if self._at("/") and "\\pi" in node.text and self._peek(1).kind == "number":
            self._take()
            return nodes.divide(node, self._atom())
        return node


def parse(tokens: Sequence[Token]) -> str:
    """The canonical LaTeX of the expression that all tokens together are.

    Raises:
        Refused: If they are none, or one that could cost too much to work out.
    """
    if not tokens:
        raise Refused("nothing")
    return _Parser(tokens).whole().text
