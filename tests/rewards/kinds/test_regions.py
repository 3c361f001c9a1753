"""Boxes are found by their overlap, counted here cell by cell; points by lying in a box or close to a point."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade
from specs_lab.rewards.kinds.regions import DEFAULT_IOU, iou, read_box, read_point


@pytest.mark.parametrize(
    "text",
    [
        *("[1, 2, 3, 4]", "[1,2,3,4]", "(1, 2, 3, 4)", "1, 2, 3, 4", "1 2 3 4", "(1,2),(3,4)", "(1, 2) (3, 4)"),
        *("[[1, 2], [3, 4]]", "[[1, 2, 3, 4]]", "{1, 2, 3, 4}", "[1.0, 2.00, 3, 4]"),
        *("<|box_start|>(1,2),(3,4)<|box_end|>", "$[1, 2, 3, 4]$", "\\boxed{[1, 2, 3, 4]}", "`[1, 2, 3, 4]`"),
        *("[1, 2, 3, 4].", "[ 1 ,2,\n3 , 4 ]", "[\uff11, 2, 3, 4]", "\u200b[1,2,3,4]", '{"bbox_2d": [1, 2, 3, 4]}'),
        *('{"bbox": [1, 2, 3, 4], "label": "a cat"}', '[{"box": [1, 2, 3, 4]}]'),
        *('```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}]\n```', '{"bbox_2d": [[1, 2], [3, 4]]}'),
    ],
)
def test_a_box_is_read_in_any_usual_form(text: str):
    assert read_box(text) == (1, 2, 3, 4)
    assert read_point(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "[1, 2, 3]", "[1, 2, 3, 4, 5]", "1234", "[1, 2, 3, x]", "box [1, 2, 3, 4]", "[1; 2; 3; 4]"),
        *("[1, 2, 3, 4%]", "[3, 2, 1, 4]", "[1, 4, 3, 2]", "[1, 2, 1, 4]", "[1, 2, 3, 2]", "[1, 1, 1, 1]"),
        *("[0, 0, 0, 5]", "[1, 2, 3, 4], [5, 6, 7, 8]", "[1, 2, 3, 4] or [5, 6, 7, 8]", "[[1,2,3,4],[5,6,7,8]]"),
        *("[1,\u200b2,3,4]", "[1e1, 2, 30, 40]", "[nan, 2, 3, 4]", "[1, 2, inf, 4]"),
        *("[1, 2, 3, " + "9" * 400 + "]", "[" * 400 + "1,2,3,4", '{"x": [1, 2, 3, 4]}', '{"bbox_2d": '),
        *('{"bbox_2d": [1, 2, 3, 4]', '{"bbox_2d": null}', '{"bbox_2d": [NaN, 2, 3, 4]}'),
        *('{"bbox_2d": [1, 2, 1e999, 4]}', '[{"box": [1, 2, 3, 4]}, {"box": [1, 2, 3, 5]}]', '{"a": ' + "[" * 390),
        *('{"bbox": [1, 2, 3, 4], "box": [1, 2, 3, 5]}', '{"bbox": [1, 2, 3, 4], "bbox": [5, 6, 7, 8]}'),
        *("{'bbox': [1, 2, 3, 4]}",),
    ],
)
def test_what_is_no_box_or_several_or_has_no_area_is_none(text: str):
    assert read_box(text) is None
    assert not grade(text, "[1, 2, 3, 4]", "box").correct


@pytest.mark.parametrize("decimals", [1, 6, 9, 10, 17])
def test_coordinates_may_have_all_digits_of_a_float(decimals: int):
    edge = "0." + "1" * decimals
    for text in (f"[{edge}, 0, 1, 1]", json.dumps({"bbox_2d": [float(edge), 0, 1, 1]})):
        assert [float(number) for number in read_box(text) or ()] == [float(edge), 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "point"),
    [
        *(("(1, 2)", (1, 2)), ("[1,2]", (1, 2)), ("1, 2", (1, 2)), ("1 2", (1, 2)), ("(0, 0)", (0, 0))),
        *(("(-1.5, 2)", (-1.5, 2)), ("<|point_start|>(1, 2)<|point_end|>", (1, 2))),
        *(('{"point_2d": [1, 2]}', (1, 2)), ("$(1, 2)$", (1, 2)), ('[{"point": [1, 2], "label": "a"}]', (1, 2))),
        *(("(\u22121, 2)", (-1, 2)),),
    ],
)
def test_a_point_is_read_in_any_usual_form(text: str, point: tuple[float, float]):
    assert read_point(text) == point
    assert read_box(text) is None


@pytest.mark.parametrize(
    "text", ["", "1", "(1)", "(1, 2, 3)", "(1, 2), (3, 4)", "x = 1, y = 2", "(1; 2)", '{"bbox": [1, 2]}']
)
def test_what_is_no_point_is_none(text: str):
    assert read_point(text) is None


SIDE = 7
EDGES = st.tuples(*[st.integers(0, SIDE)] * 4)


def cells(left: int, top: int, right: int, bottom: int) -> set[tuple[int, int]]:
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


@given(EDGES, EDGES, st.integers(1, 8))
def test_overlap_is_the_share_of_cells_in_both(first: tuple[int, ...], second: tuple[int, ...], eighths: int):
    one, other = cells(*first), cells(*second)
    if not other:
        with pytest.raises(UserError, match="type 'box'"):
            grade(str(first), str(second), "box")
        return
    verdict = grade(str(list(first)), str(second), "box", precision=eighths / 8)
    share = Fraction(len(one & other), len(one | other))
    assert verdict.correct == (bool(one) and share >= Fraction(eighths, 8))
    assert verdict.score == (float(share) if one else 0)
    if one:
        assert iou(read_box(str(first)), read_box(str(second))) == iou(read_box(str(second)), read_box(str(first)))
        assert grade(str(list(first)), str(second), "box").correct == (share >= Fraction(1, 2))


@given(EDGES, EDGES)
def test_overlap_does_not_depend_on_the_scale(first: tuple[int, ...], second: tuple[int, ...]):
    """Half is half in tenths as well, where binary fractions are not exact."""
    one, other = cells(*first), cells(*second)
    if one and other:
        tenths = [str([edge / 10 for edge in edges]) for edges in (first, second)]
        assert grade(tenths[0], tenths[1], "box").correct == (2 * len(one & other) >= len(one | other))


def test_an_overlap_of_exactly_the_least_is_enough_and_the_score_is_the_overlap():
    verdict = grade("[0, 0, 2, 1]", "[0, 0, 1, 1]", "box")
    assert (verdict.correct, verdict.score, DEFAULT_IOU) == (True, 0.5, 0.5)
    low = grade("[0, 0, 3, 1]", "[0, 0, 1, 1]", "box")
    assert (low.correct, low.score) == (False, pytest.approx(1 / 3))
    assert grade("[0, 0, 3, 1]", "[0, 0, 1, 1]", "box", precision=0.3).correct
    assert grade("[5, 5, 6, 6]", "[0, 0, 1, 1]", "box").score == 0
    assert grade("[0.5, 0, 0.8, 0.8]", "[0.2, 0, 0.8, 0.8]", "box").correct


@pytest.mark.parametrize(
    ("text", "gold", "precision", "correct"),
    [
        ("(1, 1)", "[0, 0, 2, 2]", None, True),
        ("(0, 0)", "[0, 0, 2, 2]", None, True),
        ("(2, 1)", "[0, 0, 2, 2]", None, True),
        ("(2.001, 1)", "[0, 0, 2, 2]", None, False),
        ("(1, -0.001)", "[0, 0, 2, 2]", None, False),
        ("(1, 3)", "[0, 0, 2, 4]", None, True),
        ("(3, 1)", "[0, 0, 2, 4]", None, False),
        ("[0, 0, 2, 2]", "[0, 0, 2, 2]", None, False),
        ("[0.9, 0.9, 1.1, 1.1]", "(1, 1)", 1, False),
        ("(3, 4)", "(0, 0)", 5, True),
        ("(3, 4)", "(0, 0)", 4.99, False),
        ("(3, 4)", "(0, 0)", None, False),
        ("(-0, 0.0)", "(0, 0)", None, True),
        ("(0, 0)", "(0, 0)", 0, True),
        ("(0.4, 0)", "(0.1, 0)", 0.3, True),
        ("(0.41, 0)", "(0.1, 0)", 0.3, False),
        ("(1, 2)", "(2, 1)", None, False),
    ],
)
def test_a_point_is_right_inside_the_box_or_close_to_the_point(
    text: str, gold: str, precision: float | None, correct: bool
):
    assert grade(text, gold, "point", precision=precision).correct is correct


@pytest.mark.parametrize(
    ("gold", "kind"), [("[3, 3, 1, 1]", "box"), ("(1, 2)", "box"), ("cat", "box"), ("[3, 3, 1, 1]", "point")]
)
def test_a_gold_answer_that_is_none_is_a_data_error(gold: str, kind: str):
    with pytest.raises(UserError, match=f"type '{kind}'"):
        grade("(1, 2)", gold, kind)
