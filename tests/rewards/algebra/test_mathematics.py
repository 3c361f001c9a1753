"""Equal is what is equal for every value of the variables, however it is written; what only comes near is not."""

import builtins
import math
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import math_verify.parser
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from latex2sympy2_extended import latex2sympy2
from sympy.parsing import sympy_parser

from specs_lab.rewards.algebra import mathematics
from specs_lab.rewards.algebra.mathematics import handle

EQUAL = [
    ("2x+2", "2(x+1)"),
    ("2*(x+1)", "2x+2"),
    ("x^2-1", "(x-1)(x+1)"),
    ("(x+y)^3", "x^3+3x^2y+3xy^2+y^3"),
    ("(a+b+c)^2", "a^2+b^2+c^2+2ab+2bc+2ca"),
    ("x**2", "x^2"),
    ("x^10", "x^{10}"),
    ("x^{-1}", "1/x"),
    ("a/b/c", r"\frac{a}{bc}"),
    ("-x^2", "-(x^2)"),
    (r"\frac{x^2-1}{x-1}", "x+1"),
    ("1/2x", "x/2"),
    ("0.5x", r"\frac{x}{2}"),
    ("-b/2a", r"-\frac{b}{2a}"),
    ("x-x", "0"),
    ("2^{3x}", "8^x"),
    ("e^{x+y}", "e^x e^y"),
    ("(1+1/n)^n", r"\frac{(n+1)^n}{n^n}"),
    ("(x+10)^{300}", "(10+x)^{300}"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("sqrt(8)", r"2\sqrt2"),
    (r"\frac{1}{\sqrt2}", r"\frac{\sqrt2}{2}"),
    (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
    (r"\sqrt2\sqrt3-\sqrt6", "0"),
    (r"\sqrt{x^2}", "|x|"),
    (r"\sqrt{xy}", r"\sqrt x\sqrt y"),
    ("x^{1/2}", r"\sqrt x"),
    ("x^{2/3}", r"\sqrt[3]{x^2}"),
    (r"\sqrt[3]{-8}", "-2"),
    (r"\sqrt{x-1000}", r"\sqrt{-1000+x}"),
    ("|x-y|", "|y-x|"),
    ("|xy|", "|x||y|"),
    ("i^2", "-1"),
    (r"(1+i)^2", "2i"),
    (r"\frac{1}{i}", "-i"),
    (r"e^{i\pi}", "-1"),
    (r"\sqrt{-4}", "2i"),
    ("sin(x)^2+cos(x)^2", "1"),
    ("sin 2x", "2 sin x cos x"),
    (r"\cos 2x", r"1-2\sin^2x"),
    (r"\tan x", r"\frac{\sin x}{\cos x}"),
    (r"\sec x", r"1/\cos x"),
    (r"\sin^{-1}(1)", r"\pi/2"),
    (r"\arctan 1", r"\frac\pi4"),
    (r"\arcsin x+\arccos x", r"\pi/2"),
    (r"\frac{1+\sqrt5}{2}", r"2\cos\frac{\pi}{5}"),
    (r"\cosh x", r"\frac{e^x+e^{-x}}{2}"),
    (r"\operatorname{arsinh} x", r"\ln(x+\sqrt{x^2+1})"),
    (r"\log 100", "2"),
    (r"\log_2 8", "3"),
    ("log_3(x)", r"\frac{\ln x}{\ln 3}"),
    (r"\ln(xy)", r"\ln x+\ln y"),
    (r"\ln x^2", r"2\ln x"),
    (r"\ln e^x", "x"),
    ("3!", "6"),
    ("100!/98!", "9900"),
    ("(n+1)!", "(n+1)n!"),
    (r"\binom{5}{2}", "10"),
    (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
    ("0.1+0.2", "0.3"),
    ("1e3", "1000"),
    ("1,000x", "1000x"),
    (r"2\frac{1}{2}", "2.5"),
    (r"\left(\frac{1}{2}\right)^{-2}", "4"),
    ("2^{1000}", "(2^{500})^2"),
    ("x_1+x_2", "x_{2}+x_{1}"),
    (r"\theta+\varphi", "\u03c6+\u03b8"),
    ("AB", "BA"),
    ("mgh", "hgm"),
    (r"\infty", r"+\infty"),
    (r"\sin(10^{999}\cdot 10^{999}x)", r"\sin(10^{999}\cdot 10^{999}x)"),  # too large to be worked out
]

UNEQUAL = [
    ("0.333333", r"\frac13"),
    ("0.3333333333333333", r"\frac13"),
    (r"\sqrt2", "1.41421356"),
    (r"\sqrt2", "1.4142135623730950488016887242096980785"),
    (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}"),
    (r"\sqrt{2}+\sqrt{3}", "3.1462643699419723423"),
    (r"\pi", "3.14159265358979"),
    (r"\pi", r"\frac{22}{7}"),
    (r"\pi", r"\pi+10^{-100}"),
    ("e", "2.718281828"),
    ("0.1", "0.1000000000000000000000000001"),
    ("3.0000001", "3"),
    ("10^{20}+1", "10^{20}"),
    ("2^{1000}+1", "2^{1000}"),
    ("200!+1", "200!"),
    ("e^{300}+x", "e^{300}+2x"),
    ("(x+10)^{900}+1", "(x+10)^{900}"),
    ("x^2", "2x"),
    ("x^2", "x^2+10^{-50}"),
    ("x+1", "x+1.0000000001"),
    ("x^3", "x^2"),
    ("2^x", "x^2"),
    ("X", "x"),
    ("2x", "2X"),
    ("AB", "ab"),
    ("x", "y"),
    ("x_1", "x_2"),
    ("x_1", "x"),
    ("x_A", "x_a"),
    (r"\theta", "t"),
    (r"\Delta", r"\delta"),
    (r"\gamma", r"\Gamma"),
    ("e", "E"),
    ("i", "I"),
    ("i", "-i"),
    ("i", "1"),
    ("(x+1)^2", "x^2+1"),
    ("(a+b)^2", "a^2+b^2"),
    ("xy", "x+y"),
    ("x+y", "x-y"),
    ("1/x", "x"),
    ("x^{-1}", "-x"),
    ("x/x", "0"),
    ("-x^2", "(-x)^2"),
    ("a/b/c", "a/(b/c)"),
    (r"\frac{a}{b}+c", r"\frac{a+c}{b}"),
    ("1/2x", r"\frac{1}{2x}"),
    ("|x|", "x"),
    (r"\sqrt{x^2}", "x"),
    (r"\sqrt{a+b}", r"\sqrt a+\sqrt b"),
    (r"\sqrt[3]{x}", r"\sqrt{x}"),
    ("(-8)^{1/3}", "2"),
    (r"\log x", r"\ln x"),
    (r"\log_2 3", r"\log_3 2"),
    (r"\ln(x+y)", r"\ln x+\ln y"),
    (r"\sin x", "x"),
    (r"\sin x", r"\cos x"),
    (r"\sin^2 x", r"\sin x^2"),
    (r"\sin^{-1}x", r"\frac{1}{\sin x}"),
    (r"\arcsin(\sin x)", "x"),
    (r"\tan x", r"\cot x"),
    ("e^{2x}", "e^{x^2}"),
    ("n!", "n"),
    ("(2n)!", "2n!"),
    ("(x+1)!", "x!+1"),
    (r"\binom{5}{2}", r"\binom{5}{1}"),
    (r"2\frac12", "1"),
    (r"\infty", r"-\infty"),
    (r"\infty", "5"),
    (r"\binom{1000}{500}+1", r"\binom{1000}{500}"),
]


def equal(one: str, other: str, tolerance: str | None = None) -> bool:
    """Whether the two are equal; fails unless exchanging them makes no difference."""
    request = {"task": "equal", "given": one, "gold": other, "tolerance": tolerance}
    reply = handle(request)["equal"]
    assert handle({**request, "given": other, "gold": one})["equal"] is reply
    return reply


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_what_is_equal_is_equal_in_any_spelling(one: str, other: str):
    assert equal(one, other)


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_what_is_not_equal_is_not_however_near(one: str, other: str):
    assert not equal(one, other)


def test_math_verify_decides_where_nothing_can_be_worked_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mathematics.comparison, "equal", lambda *_: None)
    monkeypatch.setattr(mathematics.comparison, "proportional", lambda *_: None)
    assert equal("2x+2", "2(x+1)")
    assert not equal("2X+2", "2x+2")
    request = {"task": "equation", "given": ["y", "2x"], "gold": ["2x", "y"]}
    assert handle(request)["equal"]
    assert not handle({**request, "given": ["y", "3x"]})["equal"]


def test_there_are_enough_pairs():
    assert min(len(EQUAL), len(UNEQUAL)) >= 60


@pytest.mark.parametrize(
    "text", ["1/0", "0^0", r"\ln 0", "0^{-1}", r"\frac{x}{0}", r"\tan(\pi/2)", "(-1)!", r"\frac{1}{x-x}"]
)
def test_what_has_no_value_equals_nothing_and_is_no_gold_answer(text: str):
    assert handle({"task": "equal", "given": text, "gold": "1"}) == {"equal": False, "reason": "has no value"}
    for given_text in (text, "1"):
        reply = handle({"task": "equal", "given": given_text, "gold": text})
        assert reply == {"error": "gold", "reason": f"{text} has no value"}
    assert not handle({"task": "parses", "gold": [text]})["parses"]


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "near"),
    [
        (r"\sqrt2", "1.414", "0.0005", True),
        (r"\sqrt2", "1.41", "0.0005", False),
        (r"\pi", "3.14", "0.005", True),
        (r"\frac{22}{7}", r"\pi", "0.005", True),
        ("0.5", "0.505", "0.005", True),
        ("0.5", "0.5050000001", "0.005", False),
        ("0.5", "0.505", "5e-3", True),
        ("0.3", r"\frac{3}{10}", "0", True),
        ("2i", "2.001i", "0.005", True),
        ("2i", "2", "0.005", False),
        ("x+0.001", "x", "0.005", False),
        ("2x+2", "2(x+1)", "0.005", True),
    ],
)
def test_constants_may_differ_by_the_tolerance(one: str, other: str, tolerance: str, near: bool):
    assert equal(one, other, tolerance) is near


EQUATIONS = [
    (("y", "2x+1"), ("2x+1", "y"), True),
    (("y", "2x+1"), ("y-2x-1", "0"), True),
    (("y", "2x+1"), ("2y", "4x+2"), True),
    (("y", "2x+1"), ("-y", "-2x-1"), True),
    (("2x+3y", "6"), (r"\frac{x}{3}+\frac{y}{2}", "1"), True),
    (("(x-1)^2+(y+2)^2", "9"), ("x^2-2x+y^2+4y", "4"), True),
    (("y", r"\sin 2x"), (r"2\sin x\cos x", "y"), True),
    (("y", r"\sqrt{x}"), (r"\pi y", r"\pi\sqrt{x}"), True),
    (("x", "5"), ("2x", "10"), True),
    (("F", "ma"), ("am", "F"), True),
    (("0", "0"), ("x", "x"), True),
    (("z", "iz^2"), ("iz", "-z^2"), True),
    (("y", "2x+1"), ("y", "2x+2"), False),
    (("y", "2x+1"), ("x", "2y+1"), False),
    (("y", "2x+1"), ("Y", "2x+1"), False),
    (("y", "2x+1"), ("y^2", "(2x+1)^2"), False),
    (("y", "2x+1"), ("xy", "2x^2+x"), False),
    (("y", "2x+1"), ("0", "0"), False),
    (("y", "2x+1"), ("0(y-2x-1)", "0"), False),
    (("y", "2x+1"), ("1", "0"), False),
    (("y", "2x+1"), ("y", "2x+1.0000001"), False),
    (("y", r"\pi x"), ("y", "3.14159265358979x"), False),
    (("x^2+y^2", "25"), ("x^2+y^2", "5"), False),
    (("x", "1"), ("x^2", "1"), False),
    (("e^x", "y"), ("10^x", "y"), False),
]


@pytest.mark.parametrize(("one", "other", "same"), EQUATIONS)
def test_equations_are_the_same_but_for_moved_terms_and_a_factor(one: tuple, other: tuple, same: bool):
    assert handle({"task": "equation", "given": list(one), "gold": list(other)})["equal"] is same
    assert handle({"task": "equation", "given": list(other), "gold": list(one)})["equal"] is same


@pytest.mark.parametrize(
    ("given_cells", "gold_cells", "same"),
    [
        (["0.5", "x+1"], [r"\frac12", "1+x"], True),
        (["1", "2", "3", "4"], ["1", "2", "3", "4"], True),
        ([], [], True),
        (["1", "2"], ["2", "1"], False),
        (["1", "2"], ["1"], False),
        (["1"], ["1", "2"], False),
        (["1", "cat;"], ["1", "2"], False),
        ([r"\sqrt{8}", "1.0000001"], [r"2\sqrt2", "1"], False),
    ],
)
def test_lists_are_compared_one_by_one(given_cells: list[str], gold_cells: list[str], same: bool):
    assert handle({"task": "equal_all", "given": given_cells, "gold": gold_cells})["equal"] is same


def test_a_gold_answer_that_does_not_parse_is_a_fault_in_the_data():
    for request in (
        {"task": "equal", "given": "1", "gold": "x;", "tolerance": None},
        {"task": "equal_all", "given": ["1", "1"], "gold": ["1", "x;"]},
        {"task": "equal_all", "given": [], "gold": ["x;"]},
        {"task": "equation", "given": ["1", "1"], "gold": ["1", "x;"]},
    ):
        assert handle(request) == {"error": "gold", "reason": "x; does not parse"}


def test_an_answer_that_does_not_parse_is_wrong():
    wrong = {"equal": False, "reason": "does not parse"}
    assert handle({"task": "equal", "given": "x;", "gold": "1"}) == wrong
    assert handle({"task": "equation", "given": ["x;", "1"], "gold": ["x", "1"]}) == wrong
    assert handle({"task": "equal", "given": r"\infty", "gold": "1"})["equal"] is False


def test_gold_answers_are_checked_all_at_once():
    assert handle({"task": "parses", "gold": ["x", "2x+1", r"\infty", "1.5"]})["parses"] is True
    assert handle({"task": "parses", "gold": ["x", "x;"]}) == {"parses": False, "reason": "x; does not parse"}
    assert handle({"task": "parses", "gold": []})["parses"] is True


def test_an_unknown_task_is_an_error():
    with pytest.raises(ValueError, match="there is no task 'guess'"):
        handle({"task": "guess"})


PAYLOADS = [
    "__import__('os').system('touch x')",
    "__import__(chr(111)+chr(115)).system(chr(116))",
    r"\text{__import__('os').system('touch x')}",
    r"x_{__import__('os')}",
    r"x_{\text{__import__('os').system('touch x')}}",
    r"\operatorname{eval}(x)",
    r"\operatorname{exec}{x}",
    r"\mathrm{open}(x)",
    "exec(x)",
    "eval(x)",
    "open(x)",
    "print(x)",
    "lambda x: x",
    "x.__class__",
    "[x for x in (1,2)]",
    "os.system",
    "$x$; import os",
    r"\variable{x}",
    r"\input{x}",
    r"\write18{touch x}",
    "x\n__import__('os')",
]


def recorded(function: Callable, texts: list[str]) -> Callable:
    """The function; what texts it is called with is added to a list."""

    def record(code, *args, **kwargs):
        if isinstance(code, str):
            texts.append(code)
        return function(code, *args, **kwargs)

    return record


def record_evaluations(patch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is read as Python code from now on, until the patch is undone."""
    evaluated: list[str] = []
    for module in (builtins, latex2sympy2, math_verify.parser, sympy_parser):
        for name in {"eval", "exec", "compile", "parse_expr", "eval_expr"} & set(vars(module)):
            patch.setattr(module, name, recorded(getattr(module, name), evaluated))
    return evaluated


def test_no_text_is_ever_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    mathematics._tree.cache_clear()
    with monkeypatch.context() as patch:
        evaluated = record_evaluations(patch)
        replies = [handle({"task": "equal", "given": payload, "gold": "x"}) for payload in PAYLOADS]
        faults = [handle({"task": "equal", "given": "x", "gold": payload}) for payload in PAYLOADS]
        for one, other in [*EQUAL, *UNEQUAL]:
            handle({"task": "equal", "given": one, "gold": other})
        seen = [*evaluated]
        sympy_parser.parse_expr("1")
    assert seen == []
    assert evaluated[0] == "1", "nothing is recorded"
    assert [reply["equal"] for reply in replies] == [False] * len(PAYLOADS)
    assert not any(fault.get("equal") for fault in faults)  # harmless letters, or a fault in the data
    assert not list(tmp_path.iterdir())


def test_the_worker_needs_no_torch():
    check = "import sys, specs_lab.rewards.algebra.mathematics; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", check], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


# Expressions as nested tuples of operators: what they are worth is known without reading them.
LEAVES = st.one_of(st.integers(0, 12), st.sampled_from([*"xyAe", "x_1", "\\theta", "0.25"]))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner),
        st.tuples(st.just("^"), inner, st.integers(-3, 3)),
        st.tuples(st.sampled_from(["-", "sin", "sqrt", "abs"]), inner),
    ),
    max_leaves=6,
)


def plain(tree) -> str:
    """In plain syntax, everything in brackets."""
    if not isinstance(tree, tuple):
        return str(tree)
    if len(tree) == 2:
        return f"(-{plain(tree[1])})" if tree[0] == "-" else f"{tree[0]}({plain(tree[1])})"
    return f"({plain(tree[1])}){tree[0]}({plain(tree[2])})" if tree[0] != "^" else f"({plain(tree[1])})^({tree[2]})"


def latex(tree) -> str:
    """In LaTeX, commuted, with fewer brackets."""
    if not isinstance(tree, tuple):
        return str(tree)
    sign, *parts = tree
    inner = [latex(part) for part in parts]
    if len(parts) == 1:
        return {"-": rf"\left[-{{({inner[0]})}}\right]", "abs": rf"\left|{inner[0]}\right|"}.get(
            sign, rf"\{sign}{{{inner[0]}}}"
        )
    if sign == "+":
        return rf"{{{inner[1]}+({inner[0]})}}"
    if sign == "-":
        return rf"{{-({inner[1]})+({inner[0]})}}"
    if sign == "*":
        return rf"\left({inner[1]}\right) \cdot {{{inner[0]}}}"
    return rf"\frac{{{inner[0]}}}{{{inner[1]}}}" if sign == "/" else rf"{{{inner[0]}}}^{{{parts[1]}}}"


@settings(max_examples=60)
@given(TREES)
def test_an_expression_equals_itself_rewritten_and_never_itself_and_one(tree):
    one, other = plain(tree), latex(tree)
    reply = handle({"task": "equal", "given": one, "gold": other})
    assume("error" not in reply and reply["reason"] != "has no value")  # a division by zero
    assert reply["equal"], (one, other, reply)
    assert not handle({"task": "equal", "given": one, "gold": f"{other}+1"})["equal"], (one, other)


NUMBERS = st.recursive(
    st.integers(0, 20),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner), st.tuples(st.just("^"), inner, st.integers(-2, 3))
    ),
    max_leaves=8,
)
RANKS = {"+": 0, "-": 0, "*": 1, "/": 1, "^": 2}


def worth(tree) -> Fraction:
    if not isinstance(tree, tuple):
        return Fraction(tree)
    sign, left, right = tree[0], worth(tree[1]), worth(tree[2])
    operations = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__, "^": left.__pow__}
    return operations[sign](right)


def tersely(tree, above: int = 0) -> str:
    """In plain syntax with no more brackets than the usual order of operations asks for."""
    if not isinstance(tree, tuple):
        return str(tree)
    sign, left, right = tree
    rank = RANKS[sign]
    if sign == "^":
        text = f"{tersely(left, 3)}^{{{right}}}"
    else:
        text = f"{tersely(left, rank)}{sign}{tersely(right, rank + 1)}"
    return f"({text})" if rank < above else text


@settings(max_examples=150)
@given(NUMBERS)
def test_arithmetic_comes_out_as_in_exact_arithmetic(tree):
    try:
        value = worth(tree)
    except ZeroDivisionError:
        assume(False)
        return
    zero_power = "0^{0}" in tersely(tree)
    assume(not zero_power and math.log2(max(abs(value.numerator), value.denominator, 1)) < 120)
    gold = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    reply = handle({"task": "equal", "given": tersely(tree), "gold": gold})
    assume(reply["reason"] != "has no value")  # (1-1)^0
    assert reply["equal"], (tersely(tree), gold)
