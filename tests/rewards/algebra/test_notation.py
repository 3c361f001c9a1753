"""Mathematics is read in any usual spelling into one that cannot be misread; prose and costly input are refused."""

import re
import subprocess
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from specs_lab.rewards.algebra.notation import ANY_LETTERS, read_expression, read_matrix, read_relation, variables_of

SPELLINGS = {
    r"2\cdot x+2": ["2x+2", "2*x+2", "2 x + 2", r"2\times x+2", "2\u00d7x + 2", r"2\,x+2", "(2x)+2", "{2}x+2"],
    r"2\cdot (x+1)": ["2(x+1)", "2*(x + 1)", r"2\left(x+1\right)", "2[x+1]", r"2\bigl(x+1\bigr)", r"2\cdot{(x+1)}"],
    r"\sqrt{8}": ["sqrt(8)", "sqrt8", r"\sqrt8", r"\sqrt{8}", "\u221a8", "\u221a(8)"],
    r"\sqrt{12}": [r"\sqrt12", "sqrt 12"],
    r"\sqrt{2}\cdot x": [r"\sqrt2x", r"\sqrt 2 x", "\u221a2x"],
    r"\sqrt[3]{x}": [r"\sqrt[3]{x}", r"\sqrt[3]x"],
    r"x^{10}": ["x^10", "x**10", "x^{10}", "x^(10)", "x\u00b9\u2070"],
    r"x^{a+b}": ["x^{a+b}", "x^(a+b)", "x**(a+b)"],
    r"x^{-2}": ["x^-2", "x^{-2}", "x**-2", "x\u207b\u00b2"],
    r"(x^{2})^{3}": ["(x^2)^3", "{x^2}^3"],
    r"x^{2}\cdot y": ["x^2y", "x\u00b2y"],
    r"a_{n}\cdot x^{n}": ["a_nx^n", "a_n x^n", "a_{n} x^{n}"],
    r"-x^{2}": ["-x^2", "-(x^2)", "-x\u00b2", "\u2212x^2"],
    r"(-x)^{2}": ["(-x)^2", r"\left(-x\right)^{2}"],
    r"\frac{1}{2}": [r"\frac12", r"\frac{1}{2}", r"\dfrac{1}2", r"\tfrac1{2}", "1/2", "1 / 2", "1\u00f72"],
    r"\frac{1}{2}\cdot x": ["1/2x", r"\frac12x", "1/2 x", "1/2*x", "(1/2)x"],
    r"-\frac{b}{2\cdot a}": ["-b/2a", "-b/(2a)", r"-\frac{b}{2a}"],
    r"\frac{\frac{a}{b}}{c}": ["a/b/c", "(a/b)/c"],
    r"\frac{a}{\frac{b}{c}}": ["a/(b/c)"],
    r"2+\frac{1}{2}": [r"2\frac{1}{2}", r"2\frac12", "2+1/2"],
    r"2\cdot \frac{x}{2}": [r"2\frac{x}{2}", r"2\cdot\frac x2"],
    r"-(1+\frac{3}{4})": [r"-1\frac{3}{4}"],
    r"2\cdot (-3)": ["2*-3", "2(-3)", r"2\cdot(-3)"],
    r"2-(-3)": ["2--3", "2-(-3)"],
    r"a-(b-c)": ["a-(b-c)"],
    r"\pi": [r"\pi", "pi", "\u03c0"],
    r"\frac{\pi}{2}": ["pi/2", r"\frac\pi2", "\u03c0/2"],
    r"\theta\cdot r": [r"\theta r", "theta*r", "\u03b8r", r"\vartheta r"],
    r"\sin(x)": ["sin(x)", "sin x", r"\sin x", r"\sin{x}", r"\sin(x)", "sinx", r"\operatorname{sin}(x)"],
    r"(\sin(x))^{2}": ["sin(x)^2", r"\sin^2 x", r"\sin^{2}(x)", "sin^2(x)", "(sin x)^2"],
    r"\sin(x^{2})": [r"\sin x^2", "sin(x^2)"],
    r"\arcsin(x)": [r"\sin^{-1}x", r"\arcsin x", "arcsin(x)", "asin(x)", "sin^-1(x)"],
    r"\sin(2\cdot x)\cdot \cos(x)": [r"\sin 2x\cos x", "sin(2x)cos(x)", "sin2x cosx"],
    r"\sin(x)\cdot (x+1)": [r"\sin x(x+1)", "sin(x)(x+1)"],
    r"\sin(\frac{\pi}{3})": [r"\sin\pi/3", "sin(pi/3)", r"\sin\frac{\pi}{3}"],
    r"x\cdot \sin(x)": ["xsinx", "x sin x", r"x\sin x"],
    r"\log_{2}(8)": [r"\log_2 8", r"\log_28", r"\log_{2}{8}", "log_2(8)", r"\log_{2}(8)"],
    r"\log_{10}(x)": ["log_10 x", r"\log_{10}x"],
    r"\ln(\lvert x\rvert)": [r"\ln|x|", "ln(abs(x))", r"\ln\left|x\right|", r"\ln\lvert x\rvert"],
    r"\lvert \lvert x\rvert-1\rvert": ["||x|-1|", "abs(abs(x)-1)"],
    r"\lvert x\rvert\cdot y\cdot \lvert z\rvert": ["|x|y|z|"],
    r"e^{2\cdot x}": ["e^{2x}", "exp(2x)", r"\exp 2x", r"\mathrm{e}^{2x}", "e**(2x)"],
    r"(n+1)!": ["(n+1)!", "{n+1}!"],
    r"\binom{5}{2}": [r"\binom{5}{2}", r"\binom52", r"\dbinom52"],
    r"x_{1}+x_{12}": ["x_1+x_12", "x_{1} + x_{12}"],
    r"v_{max}": [r"v_{\text{max}}", r"v_\mathrm{max}", "v_{max}"],
    "1234": ["1234", "1,234", "1{,}234", "01234", "1.234e3"],
    "0.5": ["0.5", ".5", "00.5"],
    r"2\cdot e-3": ["2e-3", "2e - 3"],
    r"\infty": [r"\infty", r"+\infty", "\u221e", "infinity"],
    r"-\infty": [r"-\infty", "-\u221e"],
    r"A\cdot B": ["AB", "A B", r"A\cdot B"],
    r"a\cdot b": ["ab", "a*b"],
    r"m\cdot g\cdot h": ["mgh"],
}


@pytest.mark.parametrize(("canonical", "text"), [(latex, text) for latex, texts in SPELLINGS.items() for text in texts])
def test_every_spelling_is_read_as_the_same_latex(canonical: str, text: str):
    assert read_expression(text) == canonical


@pytest.mark.parametrize("canonical", SPELLINGS)
def test_canonical_latex_is_read_into_itself(canonical: str):
    assert read_expression(canonical) == canonical


def test_the_case_of_variables_survives():
    assert read_expression("Xx+Ab+BA") == r"X\cdot x+A\cdot b+B\cdot A"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "()",
            "{}",
            "x+",
            "*x",
            "x**",
            "(x",
            "x)",
            "x]",
            "(x]",
            "|x",
            "x|",
            "{x",
            r"\frac{1}",
            r"\sqrt",
            "sin",
        ),
        *("2 3", "x2", "(x+1)2", "x^2 3", r"\frac123", r"\sqrt{2}3", "1/2 3", "x^{2}^{3}", "3!!", "log2(8)"),
        *("x=1", "x<1", "1,23", "1,2", "x;y", "{1,2}", "5.", "1..2", "x'", "f'(x)", r"\pm 2", "90\u00b0", r"90^\circ"),
        *(
            r"x\%",
            "$5",
            r"\$5",
            r"\text{a}",
            r"5\text{ cm}",
            r"5\mathrm{cm}",
            r"\begin{pmatrix}1\end{pmatrix}",
            r"\left.",
        ),
        *(r"2\infty", r"\infty-\infty", r"\infty+1", r"\int x", r"\sum x", r"\lim x", r"\vec x", r"\unknown", r"\{x\}"),
        *("v_max", "x_{a b}", "x_{", "x_", "5_2", r"x\\y", "x&y", "#x", "x\u0000", "x\u200by", "\u0445+1", "\u0661"),
    ],
)
def test_what_is_no_expression_is_refused(text: str):
    assert read_expression(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "cat",
            "act",
            "red",
            "the",
            "and",
            "left",
            "cost",
            "tank",
            "using",
            "cosine",
            "or",
            "if",
            "is",
            "to",
            "No",
            "OK",
        ),
        *(
            "red circle",
            "x or y",
            "2x+2 or 3x+2",
            "5 cm",
            "3 kg",
            "60 mph",
            "dy/dx",
            "Paris",
            "forty",
            "yes",
            "exponent",
        ),
    ],
)
def test_prose_and_units_are_no_products(text: str):
    assert read_expression(text) is None


@pytest.mark.parametrize(
    ("text", "variables", "latex"),
    [
        ("cat", frozenset("act"), r"c\cdot a\cdot t"),
        ("cat", ANY_LETTERS, r"c\cdot a\cdot t"),
        ("cat", frozenset("xy"), None),
        ("ab", frozenset("xy"), None),
        ("z", frozenset("xy"), "z"),
        ("2pir^2", frozenset("r"), r"2\cdot \pi\cdot r^{2}"),
        ("axsinx", frozenset("ax"), r"a\cdot x\cdot \sin(x)"),
        ("xe^x", frozenset("x"), r"x\cdot e^{x}"),
        ("alpha+1", frozenset({"\\alpha"}), r"\alpha+1"),
        ("alpha+1", frozenset({"x"}), None),
        ("vt", frozenset({"v_{0}", "t"}), r"v\cdot t"),
    ],
)
def test_letters_of_the_gold_answer_may_stand_together(text: str, variables: frozenset[str], latex: str | None):
    assert read_expression(text, variables) == latex


def test_the_variables_are_told_from_functions_and_constants():
    latex = read_expression(r"\theta x_1+\log_{y}(z)+e^{i\pi}+e_1+\sin(X)+\frac{1}{\alpha_{\text{max}}}")
    assert latex is not None
    assert variables_of(latex) == {"\\theta", "x_{1}", "y", "z", "e_{1}", "X", "\\alpha_{max}"}


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("y=2x+1", ("y", "=", r"2\cdot x+1")),
        ("x<=2", ("x", r"\le", "2")),
        (r"x \leq 2", ("x", r"\le", "2")),
        ("x \u2265 2", ("x", r"\ge", "2")),
        (r"x\neq y", ("x", r"\ne", "y")),
        ("0<x", ("0", "<", "x")),
        ("n!=24", ("n!", "=", "24")),
        ("a=b=c", None),
        ("0<x<1", None),
        ("=1", None),
        ("x=", None),
        ("x+1", None),
        ("(x=1)", None),
        ("x=cat", None),
    ],
)
def test_a_relation_is_split_at_its_only_sign(text: str, relation: tuple[str, str, str] | None):
    assert read_relation(text) == relation


SQUARE = (("1", "2"), ("3", "4"))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", SQUARE),
        (r" \begin{bmatrix} 1 & 2 \\ 3 & 4 \\ \end{bmatrix} ", SQUARE),
        (r"\left[\begin{array}{cc}1&2\\[2pt]3&4\end{array}\right]", SQUARE),
        (r"\left( \begin{matrix}1&2\\3&4\end{matrix} \right)", SQUARE),
        ("[[1,2],[3,4]]", SQUARE),
        ("[ [1, 2], [3, 4] ]", SQUARE),
        ("[[1],[2]]", (("1",), ("2",))),
        (r"\begin{pmatrix}\frac12&x+1\end{pmatrix}", ((r"\frac{1}{2}", "x+1"),)),
        ("[[(x+1)(x-1), 2]]", ((r"(x+1)\cdot (x-1)", "2"),)),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", None),
        (r"\left|\begin{matrix}1&2\\3&4\end{matrix}\right|", None),
        (r"\left(\begin{matrix}1&2\\3&4\end{matrix}\right]", None),
        (r"\begin{pmatrix}1&2\\3\end{pmatrix}", None),
        (r"\begin{pmatrix}1&2\\3&4\end{bmatrix}", None),
        (r"\begin{pmatrix}1&cat\end{pmatrix}", None),
        (r"\begin{pmatrix}1\end{pmatrix}\begin{pmatrix}1\end{pmatrix}", None),
        (r"\begin{pmatrix}\end{pmatrix}", None),
        (r"\begin{array}1&2\end{array}", None),
        ("[[1,2],[3]]", None),
        ("[[1,2],[3,4]],[[1,2],[3,4]]", None),
        ("[[1,2][3,4]]", None),
        ("[[1,2],[3,4]", None),
        ("[[1,2],3]", None),
        ("[[1,,2]]", None),
        ("[[]]", None),
        ("[]", None),
        ("[1,2]", None),
        ("", None),
    ],
)
def test_a_matrix_is_read_cell_by_cell(text: str, rows: tuple | None):
    assert read_matrix(text) == rows


MEGABYTE = 1 << 20
HOSTILE = [
    *("9^9^9^9^9", "9^{9^{9^{9}}}", "9**9**9**9", "2^{1001}", "2^{999*999}", "2^{500+501}", "((9^{999})^{999})^{999}"),
    *("2^{2^{2^{2^{2}}}}", "10^{10^{10}}", "e^{e^{e^{9}}}", "x^{10^{4}}", r"\sqrt[10^{9}]{2}", r"2^{\frac{1}{0}}"),
    *("201!", "(3!!)!", "((10!)!)!", "(7!)!", "(10^9)!", r"\binom{10^9}{5}", "2^{200!}", r"2^{\tan(9)\cdot 10^9}"),
    *("1" * 41, "0." + "1" * 50, "1e999", "9" * 5000, "+".join("x" * 300), "x" * 500, r"\sin" * 100 + " x"),
    *(
        "(" * 26 + "x" + ")" * 26,
        "(" * 500,
        "{" * 500,
        "|" * 400,
        r"\frac{" * 100,
        "x^{" * 60 + "x" + "}" * 60,
        r"\sqrt" * 80,
    ),
    *(
        unit * (MEGABYTE // len(unit))
        for unit in ("(", "x^", "1", " ", "\\", "\\left(", "a_", "e", "1,111,", "\u221a", "\u00b2")
    ),
    "\u00b2" * 2000,
    "1" + ",111" * 400,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_could_cost_too_much_is_refused_at_once(text: str):
    start = time.monotonic()
    assert read_expression(text) is None
    assert read_relation(f"{text}=1") is None
    assert read_matrix(f"[[{text}]]") is None
    assert time.monotonic() - start < 5


def test_large_but_harmless_constants_are_read():
    for text in ("2^{1000}", "200!", "2^{3^2}", "9" * 40, r"\binom{1000}{500}", "(" * 24 + "x" + ")" * 24, "(n!)!"):
        assert read_expression(text) is not None


def test_matrices_are_limited_in_size():
    row = ",".join("1" * 100)
    assert read_matrix(f"[[{row}]]") is not None
    assert read_matrix(f"[[{row},1]]") is None
    assert read_matrix("[[" + "x" * 4000 + "]]") is None


COMMANDS = r"\frac \sqrt \sin \log \pi \left( \right) sin \cdot {2} (x) ** \binom |x| x_1 2.5 \lvert \rvert \theta ln ²"
FRAGMENTS = st.sampled_from([*"0123456789.,xyzeiABn+-*/^_!()[]{}|= ", *(f"{part} " for part in COMMANDS.split())])


@given(st.lists(FRAGMENTS, max_size=12).map("".join))
@example("\\log_{|x|}y!")
def test_whatever_is_read_is_read_into_itself(text: str):
    latex = read_expression(text, ANY_LETTERS)
    if latex is not None:
        assert read_expression(latex) == latex
        assert re.fullmatch(r"[\x20-\x7e]+", latex)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_without_an_error(text: str):
    assert read_expression(text) is None or read_expression(text)
    read_relation(text)
    read_matrix(text)
    read_matrix(f"[[{text}]]")


def test_reading_needs_no_computer_algebra_system():
    check = (
        "import sys, specs_lab.rewards.algebra.notation; print(sorted({'sympy', 'mpmath', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
