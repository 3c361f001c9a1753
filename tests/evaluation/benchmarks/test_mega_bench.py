"""MEGA-Bench: rows of the real schema read from a real table, asked, scored and summed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Item
from specs_lab.evaluation.benchmarks.mega_bench.benchmark import MegaBench
from specs_lab.evaluation.benchmarks.mega_bench.plan import plan_of
from specs_lab.evaluation.benchmarks.mega_bench.registry import METRICS, UNSUPPORTED
from specs_lab.evaluation.benchmarks.storing import item_json, item_of
from specs_lab.problems.rows import BrokenRow, decoded
from specs_lab.problems.tables import TableRef, open_table
from specs_lab.rewards.grader import Verdict

DOCS = Path(__file__).parents[3] / "docs"


def _info(
    metrics: dict[str, Any], parser: str | None = "json", function: str | None = "mean", **weights: float
) -> dict[str, Any]:
    return {
        "field_score_function": metrics,
        "aggregation": {"function": function, "field_weights": weights},
        "response_parse_function": parser,
    }


def _row(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": "17",
        "task_name": "count_things",
        "task_description": "Count the things in <image>.",
        "global_media": "['./data/count/global.png']",
        "example_text": "Example Question: how many? <image>\nExample Response: Answer: 3",
        "example_media": "['./data/count/example.png']",
        "query_text": "Question: how many? <image><image>",
        "query_media": "['./data/count/one.png', './data/count/two.png']",
        "answer": "{'count': '4'}",
        "metric_info": repr(_info({"count": "exact_str_match"}, "answer_string", count=1)),
        "eval_context": "{}",
    }
    return row | changes


def _read(**changes: Any) -> Item:
    return MegaBench().read(_row(**changes))


def _score(answer: dict[str, Any], info: dict[str, Any], response: str, context: Any = None) -> Verdict:
    item = _read(answer=repr(answer), metric_info=repr(info), eval_context=repr(context or {}))
    return MegaBench().score(item_of(item_json(item)), response, None)


def test_rows_of_a_real_table_are_read_asked_and_scored(tmp_path: Path) -> None:
    from datasets import Dataset

    (tmp_path / "data" / "count").mkdir(parents=True)
    for colour, name in (("red", "global"), ("green", "example"), ("blue", "one"), ("white", "two")):
        Image.new("RGB", (4, 3), colour).save(tmp_path / "data" / "count" / f"{name}.png")
    (tmp_path / "core").mkdir()
    rows = [_row(), _row(id="18", answer=repr({"count": "5"}))]
    Dataset.from_list(rows).to_parquet(tmp_path / "core" / "test-00000-of-00001.parquet")
    items = [MegaBench().read(row) for row in open_table(TableRef(path=str(tmp_path), config="core", split="test"))]
    assert MegaBench().ask(items[0]) == (
        "Count the things in <image>.\nExample Question: how many? <image>\nExample Response: Answer: 3\n"
        "Question: how many? <image><image>"
    )
    shown = [image.getpixel((0, 0)) for image in decoded(items[0].row.images, tmp_path)]
    assert shown == [(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)]
    assert items[0].row.family == "count_things"
    for item, right in zip(items, ("4", "5"), strict=True):
        stored = item_of(item_json(item))
        assert MegaBench().score(stored, f"There are some. Answer: {right}", None).correct
        assert not MegaBench().score(stored, "Answer: 6", None).correct


def test_pictures_may_be_in_the_table_itself() -> None:
    picture = {"bytes": b"x", "path": None}
    item = _read(query_media=[picture, picture])
    assert item.row.images == ("./data/count/global.png", "./data/count/example.png", picture, picture)


FIELDS = {"name": "near_str_match", "count": "number_rel_diff_ratio"}
ANSWER = {"name": "the cat", "count": "10"}


def test_fields_are_put_together_by_weights_or_by_the_least() -> None:
    response = '{"name": "Cat", "count": 9}'
    assert _score(ANSWER, _info(FIELDS), response).score == pytest.approx(0.95)
    assert _score(ANSWER, _info(FIELDS, name=1, count=3), response).score == pytest.approx(0.925)
    assert _score(ANSWER, _info(FIELDS, function="min"), response).score == pytest.approx(0.9)
    right = _score(ANSWER, _info(FIELDS, name=1, count=2), '{"name": "Cat", "count": 10}')
    assert right.correct
    assert right.score == 1
    assert not _score(ANSWER, _info(FIELDS), response).correct


def test_a_field_that_the_response_lacks_is_wrong_whatever_is_right() -> None:
    metrics = {"a": "exact_str_match", "b": "exact_str_match"}
    assert _score({"a": "x", "b": "None"}, _info(metrics), '{"a": "x"}').score == 0.5


def test_a_response_without_fields_counts_as_the_value_of_each() -> None:
    metrics = {"a": "exact_str_match", "b": "exact_str_match"}
    assert _score({"a": "x", "b": "y"}, _info(metrics), "x").score == 0.5


def test_fields_that_do_not_count_are_left_out() -> None:
    metrics = {"a": "positive_int_match", "b": "positive_int_match"}
    assert _score({"a": "0", "b": "2"}, _info(metrics), '{"a": "0", "b": "3"}').score == 0
    assert _score({"a": "0", "b": "2"}, _info(metrics), '{"a": "0", "b": "2"}').score == 1
    assert _score({"a": "0", "b": "0"}, _info(metrics), '{"a": "0", "b": "0"}').score == 1


def test_a_metric_may_compare_with_the_context() -> None:
    info = _info({"place": "xml_norm_point_in_bbox"}, "answer_string")
    context = {"bounding_boxes": ["(0.1, 0.1, 0.3, 0.3)"]}
    assert _score({"place": ""}, info, "Answer: <point>0.2, 0.2</point>", context).correct
    assert not _score({"place": ""}, info, "Answer: <point>0.4, 0.2</point>", context).correct


def test_a_metric_may_compare_the_whole_answer() -> None:
    info = _info({"a": "exact_str_match"}) | {"global_aux_metrics": {"all": "dict_equality"}}
    assert _score({"a": "x"}, info, '{"a": "x"}').correct
    assert _score({"a": "x"}, info, '{"a": "x", "b": "y"}').score == 0.5


def test_fields_that_are_not_asked_for_do_not_make_an_answer_of_several_fields() -> None:
    info = _info({"a": "exact_str_match", "##b": "exact_str_match"}, "answer_string", **{"##b": 0})
    assert _score({"a": "x", "##b": "y"}, info, "Answer: x").correct


def test_quotes_around_a_gold_text_are_dropped() -> None:
    assert _score({"a": "'x'"}, _info({"a": "exact_str_match"}, "answer_string"), "Answer: x").correct


def test_an_answer_in_tags_or_in_a_box_counts() -> None:
    info = _info({"a": "exact_str_match"}, "answer_string")
    for response in ("<think>y</think><answer>x</answer>", "<think>y</think> \\boxed{x}", "<answer>Answer: x</answer>"):
        assert _score({"a": "x"}, info, response).correct


def test_the_public_result_is_the_mean_over_tasks() -> None:
    def scored(task: str, score: float, **columns: Any) -> tuple[Item, Verdict]:
        return _read(task_name=task, **columns), Verdict(score == 1, "", None, "", score)

    rows = [scored("a", 1.0, skills="['see', 'count']", input_format="chart"), scored("a", 0.5, skills="['see']")]
    rows += [scored("b", 0.0, skills="['see']", application="Science")]
    found = MegaBench().summary(rows)
    assert found["macro"] == (pytest.approx(0.375), 2)
    assert found["micro"] == (pytest.approx(0.5), 3)
    assert found["skill/see"] == (pytest.approx(0.375), 2)
    assert found["skill/count"] == (pytest.approx(0.75), 1)
    assert found["input_format/chart"] == (pytest.approx(0.75), 1)
    assert found["application/Science"] == (0.0, 1)


BROKEN = (
    ({"id": None}, "no_id"),
    ({"task_name": ""}, "no_task_name"),
    ({"query_text": " "}, "no_query_text"),
    ({"answer": None}, "no_answer"),
    ({"metric_info": None}, "no_metric_info"),
    ({"query_media": "['./data/a.png', './data/b.mp4']"}, "video"),
    ({"query_text": "Question: <video> <image>"}, "video"),
    ({"query_media": "[./data"}, "bad_media"),
    ({"query_media": "'./data/a.png'"}, "bad_media"),
    ({"query_media": "[1, 2]"}, "bad_media"),
    ({"query_media": "['./data/a.png']"}, "image_markers"),
    ({"example_media": None}, "image_markers"),
    (
        {"task_description": "", "global_media": "[]", "example_text": "", "example_media": "[]", "query_text": "How?"}
        | {"query_media": "[]"},
        "no_image",
    ),
    ({"answer": "{}"}, "bad_answer"),
    ({"answer": "['4']"}, "bad_answer"),
    ({"answer": "open('x')"}, "bad_answer"),
    ({"metric_info": "[1]"}, "bad_metric_info"),
    ({"metric_info": repr(_info({}))}, "bad_metric_info"),
    ({"metric_info": repr(_info({"count": None}))}, "bad_metric_info"),
    ({"metric_info": repr(_info({"count": "exact_str_match"}, count=0))}, "bad_metric_info"),
    ({"metric_info": repr(_info({"count": "exact_str_match"}, count=-1))}, "bad_metric_info"),
    (
        {"answer": "{'a': '1', 'b': '2'}"}
        | {"metric_info": repr(_info({"a": "exact_str_match", "b": "exact_str_match"}, "answer_string"))},
        "bad_metric_info",
    ),
    ({"metric_info": repr(_info({"count": "xml_norm_point_in_bbox"})), "eval_context": "[1]"}, "bad_eval_context"),
    ({"metric_info": repr(_info({"count": "xml_norm_point_in_bbox"}))}, "gold_not_read"),
    ({"metric_info": repr(_info({"count": "nbbox_iou_tuple"}))}, "gold_not_read"),
    ({"metric_info": repr(_info({"count": "made_up"}))}, "unsupported_metric"),
    ({"metric_info": repr(_info({"count": "exact_str_match"}, "odd_one_out"))}, "unsupported_parser"),
    ({"metric_info": repr(_info({"count": "exact_str_match"}, function="max"))}, "unsupported_aggregation"),
    *(({"metric_info": repr(_info({"count": name}))}, "unsupported_metric") for name in UNSUPPORTED),
)


@pytest.mark.parametrize(("changes", "reason"), BROKEN, ids=lambda value: str(value)[:60])
def test_a_row_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BrokenRow) as caught:
        _read(**changes)
    assert caught.value.reason == reason
    assert caught.value.what


def test_an_unsupported_metric_is_named_with_the_reason() -> None:
    with pytest.raises(BrokenRow, match="program_judge runs the code of the response"):
        _read(metric_info=repr(_info({"count": "program_judge"})))


def test_all_reasons_and_all_that_is_not_there_are_documented() -> None:
    written = "".join(path.read_text() for path in DOCS.glob("benchmarks*.md"))
    assert not [name for name in (*UNSUPPORTED, *(reason for _, reason in BROKEN)) if f"`{name}`" not in written]
    assert "unsupported" not in METRICS


@pytest.mark.parametrize(
    "text", ["{" * 90_000, "Answer: " * 12_000, "**Answer:" * 10_000, "```" * 30_000, "\n" * 90_000 + "y"]
)
def test_hostile_responses_are_scored_at_once(text: str) -> None:
    for parser in ("json", "answer_string", "ascii_answer_string", "verbatim_answer_string", "dummy"):
        assert not _score({"a": "x"}, _info({"a": "exact_str_match"}, parser), text).correct


def test_defaults_stand_in_for_what_a_row_leaves_open() -> None:
    plan = plan_of(repr(_info({"a": "exact_str_match"}, None, None)), repr({"a": "x"}))
    assert (plan.parser, plan.aggregation, plan.weights) == ("json", "mean", {"a": 1.0})


def test_it_is_known_by_its_name() -> None:
    assert BENCHMARKS.get("mega_bench") is MegaBench
