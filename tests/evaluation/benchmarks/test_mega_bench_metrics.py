"""MEGA-Bench's metrics against the public rules, on cases written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from specs_lab.evaluation.benchmarks.mega_bench.registry import METRICS, UNSUPPORTED, BadGold

DOCS = Path(__file__).parents[3] / "docs"


class Case(NamedTuple):
    metric: str
    given: Any
    gold: Any
    public: float | None
    ours: float | None
    difference: str = ""


def same(metric: str, given: Any, gold: Any, score: float | None) -> Case:
    return Case(metric, given, gold, score, score)


QUARTER, HALF = "(0, 0, 0.5, 0.5)", "(0, 0, 1, 0.5)"
PI_AS_14 = math.exp(-10 * 0.1 / math.sqrt(2))
CONTEXT = {"bounding_boxes": ["(0.1, 0.1, 0.3, 0.3)", "(0.6, 0.6, 0.9, 0.9)"]}

CASES = (
    same("exact_str_match", "cat", "cat", 1),
    same("exact_str_match", "Cat", "cat", 0),
    same("exact_str_match", 7, "7", 1),
    same("exact_str_match", "(B)", "B", 1),
    same("exact_str_match", "B. a cat", "B", 1),
    same("exact_str_match", "B a cat", "B", 1),
    same("exact_str_match", "C", "B", 0),
    same("exact_str_match", "42", "4", 0),
    Case("exact_str_match", "Both of them", "B", 1, 0, "letter_of_a_word"),
    Case("exact_str_match", "Bb", "B", 1, 0, "letter_of_a_word"),
    same("exact_str_match_case_insensitive", "CAT", "cat", 1),
    same("exact_str_match_case_insensitive", "a dog", "cat", 0),
    same("exact_str_match_case_insensitive", ["cat"], "cat", 0),
    same("simple_str_match", "New York", "new-york.", 1),
    same("simple_str_match", "New Jersey", "New York", 0),
    same("simple_str_match", "(b) New York", "B", 1),
    Case("simple_str_match", "apples", "A", 1, 0, "letter_of_a_word"),
    same("multi_ref_phrase", "the UK", "['Great Britain', 'the UK']", 1),
    same("multi_ref_phrase", "uk", "Great Britain\uff0c UK", 1),
    same("multi_ref_phrase", "France", "['Great Britain', 'the UK']", 0),
    same("multi_ref_phrase", "7", "[7, 8]", 1),
    Case("multi_ref_phrase", "42", "'42'", 0, 1, "quoted_text"),
    same("code_result_exact_str_match", "1 2\n3", "```\n1 2\n3\n```", 1),
    same("code_result_exact_str_match", "1 2 3", "```\n1 2\n3\n```", 0),
    same("code_result_exact_str_match", "8", "8", 1),
    same("normalized_similarity_damerau_levenshtein", "abcd", "abdc", 0.75),
    same("normalized_similarity_damerau_levenshtein", "", "", 1),
    same("normalized_similarity_damerau_levenshtein", "kitten", "sitting", 4 / 7),
    same("normalized_similarity_damerau_levenshtein", "CA", "ABC", 1 / 3),
    same("normalized_similarity_damerau_levenshtein", ["a"], "a", 0),
    same("near_str_match", "The Caf\u00e9", "cafe", 1),
    same("near_str_match", "abcdefghij", "abcdefghik", 0.9),
    same("near_str_match", "abcdefghi", "abcdefghk", 0),
    same("near_str_match", 5, "5", 0),
    Case("near_str_match", "\u5317\u4eac", "Bei Jing ", 1, 0, "transliteration"),
    same("number_rel_diff_ratio", "9", "10", 0.9),
    same("number_rel_diff_ratio", 30, "10", 0),
    same("number_rel_diff_ratio", "about 9", "10", 0),
    same("number_rel_diff_ratio", "-10", "-10", 1),
    Case("number_rel_diff_ratio", "0", "0", 0, 1, "gold_of_zero"),
    same("normalized_rmse", "0.55", "0.5", 0.5),
    same("normalized_rmse", "0.9", "0.5", 0),
    same("angle_seq_float_rmse", "[10, 20]", "[12, 24]", 0.7),
    same("angle_seq_float_rmse", "10, 20", "[10, 20]", 1),
    same("angle_seq_float_rmse", "[10]", "[10, 20]", 0),
    same("angle_seq_float_rmse", "[90, 90]", "[10, 20]", 0),
    same("positive_int_match", "3", "3", 1),
    same("positive_int_match", "3", "4", 0),
    Case("positive_int_match", "0", "0", -1, None, "not_counted"),
    same("positive_int_match", "3", "0", 0),
    same("positive_int_match", "three", "3", 0),
    same("general_single_numerical_match", "10.05", "10", 1),
    same("general_single_numerical_match", "10.2", "10", 0),
    same("general_single_numerical_match", "x = \\frac{1}{2}", "0.5", 1),
    same("general_single_numerical_match", "50%", "0.5", 1),
    same("general_single_numerical_match", "$12", "12", 1),
    same("general_single_numerical_match", "3*4", "12", 1),
    same("general_single_numerical_match", "2\u03c0", "6.28", 1),
    same("general_single_numerical_match", "1,000", "1000", 1),
    same("general_single_numerical_match", "12 cm", "12", 0),
    same("general_single_numerical_match", "no answer", "No-Answer", 1),
    same("general_single_numerical_match", "-8", "8", 0),
    Case("general_single_numerical_match", "(2, 1)", "(1, 2)", 0, 1, "tuples_of_numbers"),
    same("general_single_numerical_match", "abs(-12)", "12", 0),
    same("boxed_single_numerical_match", "so \\boxed{\\frac{3}{4}}", "\\boxed{0.75}", 1),
    same("boxed_single_numerical_match", "so \\boxed{3}", "\\boxed{4}", 0),
    same("boxed_single_numerical_match", "0.75", "\\boxed{0.75}", 1),
    Case("boxed_single_numerical_match", "\\boxed{\\frac{\\sqrt{4}}{2}}", "\\boxed{1}", 0, 1, "nested_braces"),
    same("latex_expr_equality", "2x + 2", "2(x+1)", 1),
    same("latex_expr_equality", "\\(x^2\\)", "x \\cdot x", 1),
    same("latex_expr_equality", "x^3", "x^2", 0),
    same("latex_expr_equality", None, "x^2", 0),
    same("text_with_latex_expr_equality", "The area, is $2x+2$", "the area is $2(x+1)$", 1),
    same("text_with_latex_expr_equality", "The volume is $2x+2$", "the area is $2(x+1)$", 0),
    same("text_with_latex_expr_equality", "The area is $2x$", "the area is $2(x+1)$", 0),
    same("set_equality", ["a", "b"], "{'b', 'a'}", 1),
    same("set_equality", "b, a", "['a', 'b']", 1),
    same("set_equality", ["A"], "['a']", 0),
    same("set_equality", "['a'", "['a']", 0),
    Case("set_equality", "[[1, 2], [3, 4]]", "[[3, 4], [1, 2]]", 0, 1, "lists_in_lists"),
    same("set_equality_case_insensitive", "A, b", "['a', 'B']", 1),
    same("set_equality_case_insensitive", "A", "['a', 'B']", 0),
    Case("set_equality_case_insensitive", [1, 2], "[2, 1]", 0, 1, "numbers_in_sets"),
    same("str_set_equality_comma", "None, b", "B, none", 1),
    same("str_set_equality_comma", "a", "B, none", 0),
    same("str_set_equality_line_break", "a\nB", "b\\na", 1),
    same("str_set_equality_line_break", "a", "b\\na", 0),
    same("jaccard_index", "['a', 'b']", "['b', 'c']", 1 / 3),
    same("jaccard_index", None, "['b', 'c']", 0),
    same("jaccard_index", [], "[]", 1),
    same("jaccard_index_case_insensitive", ["A", "b"], "['a', 'B']", 1),
    same("jaccard_index_case_insensitive", "a", "['a', 'B']", 0.5),
    same("jaccard_index_case_insensitive", [["A", "b-c"]], "[('a', 'bc')]", 1),
    Case("jaccard_index_case_insensitive", [["a", "b c"]], "[('a', 'b c')]", 0, 1, "spaces_in_pairs"),
    Case("jaccard_index_case_insensitive", [1, 2], "[1, 2]", 0, 1, "numbers_in_sets"),
    same("chess_move_list_jaccard_index", "Qh7#, Nf3", "['Qh7', 'Nf3!']", 1),
    same("chess_move_list_jaccard_index", "Qh7", "['Qh7', 'Nf3']", 0.5),
    same("set_precision", "['a', 'b']", "['b', 'c']", 0.5),
    same("set_precision", "['b']", "['b', 'c']", 1),
    Case("set_precision", "[]", "['b', 'c']", 1, 0, "empty_answer"),
    Case("set_precision", "(no list", "['b', 'c']", 1, 0, "empty_answer"),
    same("sequence_equality", "[1, 2]", "[1, 2]", 1),
    same("sequence_equality", [1, 2], "[1, 2]", 1),
    same("sequence_equality", "[2, 1]", "[1, 2]", 0),
    same("sequence_equality_case_insensitive", "A, b", "['a', 'B']", 1),
    same("sequence_equality_case_insensitive", "b, A", "['a', 'B']", 0),
    Case("sequence_equality_case_insensitive", "1, 2", "[1, 2]", 0, 1, "numbers_in_sequences"),
    same("sequence_accuracy_case_insensitive", "A, x", "['a', 'b']", 0.5),
    same("sequence_accuracy_case_insensitive", "a", "['a', 'b']", 0),
    Case("sequence_accuracy_case_insensitive", ["A", "b"], "['a', 'b']", 0, 1, "lists_as_lists"),
    Case("sequence_accuracy_case_insensitive", "[1, 'b']", "['a', 'b']", 0, 0.5, "one_wrong_type"),
    same("longest_common_list_prefix_ratio", "[1, 2, 9, 4]", "[1, 2, 3, 4]", 0.5),
    same("longest_common_list_prefix_ratio", "[9, 2]", "[1, 2]", 0),
    same("sequence_coords_similarity", "[(0.1, 0.1), (0.5, 0.5)]", "[(0.1, 0.1), (0.5, 0.6)]", (1 + PI_AS_14) / 2),
    same("sequence_coords_similarity", "[(0.1, 0.1)]", "[(0.1, 0.1), (0.5, 0.6)]", 0),
    same("dict_equality", {"a": 1}, "{'a': 1}", 1),
    same("dict_equality", "{'a': 2}", "{'a': 1}", 0),
    same("dict_equality", "a is 1", "{'a': 1}", 0),
    same("dict_precision", {"a": 1, "c": 2}, {"a": 1, "b": 2}, 0.5),
    same("dict_precision", {"a": 1}, {"a": 1, "b": 2}, 1),
    same("dict_precision", {}, {"a": 1, "b": 2}, 0),
    same("dict_exact_str_match_agg_recall", {"a": "x", "c": "y"}, {"a": "x", "b": "y"}, 0.5),
    same("dict_exact_str_match_agg_recall", "{'a': 'x', 'b': 5}", {"a": "x"}, 1),
    same("dict_exact_str_match_agg_recall", "x", {"a": "x"}, 0),
    Case("dict_exact_str_match_agg_recall", {}, {"a": "None"}, 1, 0, "missing_key"),
    same("dict_set_equality_agg_jaccard", {"a": ["x"], "c": ["y"]}, {"a": ["x"], "b": ["y"]}, 1 / 3),
    same("dict_jaccard_agg_jaccard", {"a": ["x", "y"]}, {"a": ["x"], "b": ["y"]}, 0.25),
    Case("dict_jaccard_agg_jaccard", "{'a': ['x']}", {"a": ["x"]}, 0, 1, "dicts_as_text"),
    same("dict_nbbox_iou_tuple_agg_jaccard", {"a": [[0, 0, 1, 0.5]]}, {"a": [[0, 0, 0.5, 0.5]]}, 0.5),
    same("nbbox_iou_tuple", f"[{QUARTER}]", f"[{HALF}]", 0.5),
    same("nbbox_iou_tuple", QUARTER, f"[{HALF}, {QUARTER}]", 1),
    same("nbbox_iou_tuple", "[]", f"[{HALF}]", 0),
    same("nbbox_iou_tuple", "[(0.6, 0.6, 0.9, 0.9)]", f"[{HALF}]", 0),
    Case("nbbox_iou_tuple", [0, 0, 0.5, 0.5], f"[{HALF}]", 0, 0.5, "single_box"),
    same("nbbox_iou_single", QUARTER, HALF, 0.5),
    same("nbbox_iou_single", "nowhere", HALF, 0),
    same("nbbox_iou_sequence", f"[{QUARTER}, {HALF}]", f"[{HALF}, {HALF}]", 0.75),
    same("nbbox_iou_sequence", f"[{QUARTER}]", f"[{HALF}, {HALF}]", 0),
    same("xml_nbbox_iou_single", "<box>0, 0, 0.5, 0.5</box>", "<box>0, 0, 1, 0.5</box>", 0.5),
    same("xml_nbbox_iou_single", "0, 0, 0.5, 0.5", "<box>0, 0, 1, 0.5</box>", 0),
    same("xml_norm_point_distance", "<point>0.5, 0.5</point>", "<point>0.5, 0.3</point>", 0.8),
    same("xml_norm_point_distance", "<point>50, 50</point>", "<point>0.5, 0.3</point>", 0),
    same("xml_norm_point_in_bbox", "<point>0.7, 0.9</point>", CONTEXT, 1),
    same("xml_norm_point_in_bbox", "<point>0.4, 0.4</point>", CONTEXT, 0),
    same("xml_norm_point_in_bbox", "<point>0.7, 0.7</point><point>0.2, 0.2</point>", CONTEXT, 0),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.metric}-{case.given!r}")
def test_a_metric_scores_as_its_public_rule_but_for_what_is_documented(case: Case) -> None:
    score = METRICS.get(case.metric)(case.given, case.gold)
    assert score == (None if case.ours is None else pytest.approx(case.ours))


def test_whatever_differs_from_the_public_rules_is_documented_and_nothing_else_is() -> None:
    assert len(CASES) >= 80
    for case in CASES:
        assert bool(case.difference) == (case.public != case.ours), case
    written = "".join(path.read_text() for path in DOCS.glob("benchmarks*.md"))
    assert not {case.difference for case in CASES if f"`{case.difference}`" not in written} - {""}


ORACLES = {
    "nbbox_iou_single": HALF,
    "nbbox_iou_sequence": f"[{HALF}, {QUARTER}]",
    "nbbox_iou_tuple": f"[{HALF}, {QUARTER}]",
    "xml_nbbox_iou_single": "<box>0, 0, 1, 0.5</box>",
    "xml_norm_point_distance": "<point>0.5, 0.3</point>",
    "dict_set_equality_agg_jaccard": {"a": ["x"], "b": ["y"]},
    "dict_nbbox_iou_tuple_agg_jaccard": {"a": [[0, 0, 1, 0.5]]},
    "dict_jaccard_agg_jaccard": {"a": ["x"], "b": "y"},
    "normalized_rmse": "0.5",
    "longest_common_list_prefix_ratio": "[1, 2, 3]",
    "sequence_coords_similarity": "[(0.1, 0.1), (0.5, 0.6)]",
}


@pytest.mark.parametrize("metric", sorted(ORACLES))
def test_the_gold_answer_scores_one(metric: str) -> None:
    assert METRICS.get(metric)(ORACLES[metric], ORACLES[metric]) == 1


def test_every_metric_has_a_case_that_is_right_and_one_that_is_not() -> None:
    right = {case.metric for case in CASES if case.ours == 1} | set(ORACLES)
    less = {case.metric for case in CASES if case.ours is not None and case.ours < 1}
    assert right == set(METRICS.names()) == less


HOSTILE = (
    "[" * 30_000, "{" * 30_000, "(" * 30_000, "-" * 30_000, "9" * 30_000, "9**9**9**9", "1e999", "(1e308*1e308)",
    "__import__('os').system('true')", "[].__class__", "\\frac" * 4000, "\\sqrt{" * 4000, "\\boxed{" * 4000,
    "<point>" * 4000, "<box>" * 4000, "a," * 15_000, "\x00", "\ud800", "nan", "inf", None, [], {}, [[[[]]]],
    [float("nan")] * 4, {"a": [10**400, 0, 1, 1]}, [10**400] * 4, True, 1j,
)  # fmt: skip


@pytest.mark.parametrize("metric", METRICS.names())
def test_nothing_that_a_response_holds_breaks_a_metric_or_scores(metric: str) -> None:
    case = next(case for case in CASES if case.metric == metric)
    for given in HOSTILE:
        score = METRICS.get(metric)(given, case.gold)
        assert score is not None
        assert 0 <= score < 1, given


def test_nothing_in_a_response_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "run"
    code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    for case in CASES:
        METRICS.get(case.metric)(code, case.gold)
        METRICS.get(case.metric)(f"[{code}]", case.gold)
    assert not trap.exists()


BAD_GOLDS = (
    ("number_rel_diff_ratio", "many"),
    ("normalized_rmse", None),
    ("angle_seq_float_rmse", "[]"),
    ("angle_seq_float_rmse", "[1, 'x']"),
    ("positive_int_match", "2.5"),
    ("near_str_match", 5),
    ("multi_ref_phrase", "[]"),
    ("sequence_equality", ""),
    ("sequence_coords_similarity", "[1, 2, 3]"),
    ("dict_equality", "{}"),
    ("dict_precision", "nothing"),
    ("nbbox_iou_tuple", "[]"),
    ("nbbox_iou_single", "(1, 2)"),
    ("xml_nbbox_iou_single", "(0, 0, 1, 1)"),
    ("xml_norm_point_distance", "<point>5, 5</point>"),
    ("xml_norm_point_in_bbox", {}),
    ("latex_expr_equality", 5),
    ("text_with_latex_expr_equality", None),
)


@pytest.mark.parametrize(("metric", "gold"), BAD_GOLDS)
def test_a_gold_answer_that_nothing_can_equal_is_a_fault(metric: str, gold: Any) -> None:
    with pytest.raises(BadGold):
        METRICS.get(metric)("", gold)


def test_texts_too_long_to_be_compared_are_alike_only_where_they_are_equal() -> None:
    similarity = METRICS.get("normalized_similarity_damerau_levenshtein")
    assert similarity("a" * 9000 + "b" * 9000, "b" * 9000 + "a" * 9000) == 0
    assert similarity("ab" * 9000, "ab" * 9000) == 1
    assert similarity("ab" * 9000 + "c", "ab" * 9000 + "d") == pytest.approx(1 - 1 / 18_001)


def test_no_metric_is_both_there_and_unsupported() -> None:
    assert not set(METRICS.names()) & set(UNSUPPORTED)
    assert len(METRICS) >= 30
