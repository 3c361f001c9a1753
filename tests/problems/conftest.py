"""Tables with the schemas of real datasets, written by the real `datasets` library as their owners do."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

CHOICES = "\nChoices:\nA. red\nB. blue\nC. green"


def _png(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture of its own for every number."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((4, 4, 8 + number % 40, 20 + number // 40), fill=(37 * number % 256, 90, 160))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@dataclass
class Sample:
    """A dataset in small.

    Attributes:
        good: Rows as the dataset has them.
        wrong: A wrong answer to each good row.
        broken: Rows that cannot be used, with their reasons.
        features: The types of the columns, or None where the dataset is JSON.
        file: Where the table lies in the repository.
        settings: Options that the dataset's YAML sets.
    """

    good: list[dict[str, Any]]
    wrong: list[str]
    broken: list[tuple[str, dict[str, Any]]]
    features: Any
    file: str = "data/train-00000-of-00001.parquet"
    settings: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Makes the bytes of a picture."""
    return _png


def _cell(number: int) -> dict[str, Any]:
    return {"bytes": _png(number), "path": f"{number}.png"}


def _texts(*names: str) -> dict[str, Any]:
    from datasets import Value

    return {name: Value("string") for name in names}


def _cut(content: bytes) -> dict[str, Any]:
    return {"bytes": content[:70], "path": None}


def _with_images(question: str, answer: str, broken_answer: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Broken rows of datasets with the columns images, problem, answer."""
    good = {"images": [_cell(90)], question: "<image>How long is it?", answer: "5"}
    return [
        ("no_question", {**good, question: "<image>"}),
        ("no_answer", {**good, answer: broken_answer}),
        ("no_image", {**good, "images": []}),
        ("image_markers", {**good, question: "<image><image>How long is it?"}),
        ("unreadable_image", {**good, "images": [_cut(_png(91))]}),
        ("unreadable_image", {**good, "images": [{"bytes": b"no picture", "path": None}]}),
    ]


def _geometry3k() -> Sample:
    from datasets import Features, List
    from datasets import Image as Picture

    rows = [
        ("<image>Find $m \\angle A$.", "61"),
        ("<image>Find the area of the figure.", "2 \\sqrt { 221 }"),
        ("<image>Find x.", "\\frac { 25 } { 9 }"),
        ("<image>Find $\\sin A$ as a ratio.", "0.8"),
    ]
    good = [{"images": [_cell(i)], "problem": q, "answer": a} for i, (q, a) in enumerate(rows)]
    features = Features({"images": List(Picture()), **_texts("problem", "answer")})
    return Sample(good, ["62", "2", "9", "0.7"], _with_images("problem", "answer"), features)


def _virl39k() -> Sample:
    from datasets import Features, List, Value

    base = {"source": "MMK12", "PassRate_32BTrained": 0.75, "PassRate_7BBase": None}
    rows = [
        ("<image>\nWhat is the height?", "\\boxed{17^\\circ}", "(GradeSchool) Geometric", ["images/0.png"]),
        ("<image>\nWhich colour is it?" + CHOICES, "\\boxed{B}", "Tables/Diagrams/Charts", ["images/1.png"]),
        ("What is 3 times 4?", "\\boxed{12}", "(GradeSchool) Non-Geo Math", []),
        ("<image><image> Which is taller?", "\\boxed{left}", "Spatial Reasoning", ["images/2.png", "images/3.png"]),
    ]
    good = [
        {"question": q, "answer": a, "image": images, "category": c, "qid": f"q-{i}", **base}
        for i, (q, a, c, images) in enumerate(rows)
    ]
    last = {**good[0], "qid": "q-9"}
    broken = [
        ("repeated_id", {**good[0], "question": "<image> And the width?"}),
        ("no_question", {**last, "question": "  "}),
        ("no_answer", {**last, "answer": "\\boxed{}"}),
        ("image_markers", {**last, "image": []}),
        ("unreadable_image", {**last, "image": ["images/missing.png"]}),
        ("unreadable_image", {**last, "image": ["../outside.png"]}),
    ]
    numbers = {name: Value("float64") for name in ("PassRate_32BTrained", "PassRate_7BBase")}
    features = Features(
        {**_texts("question", "answer", "category", "source", "qid"), **numbers, "image": List(Value("string"))}
    )
    settings = {"files": {"train": ["*.parquet"]}, "archives": ["images.zip"]}
    return Sample(good, ["18", "C", "13", "right"], broken, features, "39Krelease.parquet", settings)


def _orsta47k() -> Sample:
    from datasets import Features, List, Value
    from datasets import Image as Picture

    def row(number: int, question: str, truth: str, verifier: str = "mathverify", **changes: Any) -> dict[str, Any]:
        made = {
            "data_source": "mm_math",
            "images": [_cell(number)],
            "prompt": [{"content": question, "role": "user"}],
            "ability": "math",
            "reward_model": {
                "answer": truth,
                "ground_truth": truth,
                "accuracy_ratio": 1.0,
                "format_ratio": 0.0,
                "verifier": verifier,
                "verifier_parm": {"det_verifier_normalized": None},
            },
            "extra_info": {"id": f"x{number}", "image_path": f"{number}.png"},
        }
        return {**made, **changes}

    box, boxes = "[10, 20, 30, 40]", '[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8]}]'
    detection = {"data_source": "v3det", "ability": "detection"}
    good = [
        row(0, "<image>What is the length of AB? Put your answer in \\boxed{}.", "\\boxed{4}"),
        row(1, "<image>Find the cat.", box, "detection", **detection),
        row(2, "<image>Find the dog.", f'[{{"bbox_2d": {box}, "label": "dog"}}]', "detection", **detection),
        row(3, "<image>Which one?" + CHOICES, "\\boxed{B}", data_source="puzzlevqa", ability="puzzle"),
    ]
    asked_twice = [{"content": "<image>A?", "role": "user"}, {"content": "B?", "role": "user"}]
    broken = [
        ("unsupported_answer", row(4, "<image>Find them.", boxes, "detection")),
        ("unsupported_answer", row(5, "<image>Write it in LaTeX.", "x", "latex_render")),
        ("bad_gold", row(6, "<image>Find it.", "upper left", "detection")),
        ("no_answer", row(7, "<image>What is it?", "")),
        ("no_question", row(8, "<image>", "4")),
        ("several_turns", row(9, "", "4", prompt=asked_twice)),
        ("no_image", row(10, "Find it.", box, "detection", images=[])),
        ("image_markers", row(11, "<image>Where?", "4", images=[])),
        ("repeated_id", row(0, "<image>And of BC?", "5")),
    ]
    reward = {
        **_texts("answer", "ground_truth", "verifier"),
        "accuracy_ratio": Value("float64"),
        "format_ratio": Value("float64"),
        "verifier_parm": {"det_verifier_normalized": Value("bool")},
    }
    features = Features(
        {
            **_texts("data_source", "ability"),
            "images": List(Picture()),
            "prompt": List(_texts("content", "role")),
            "reward_model": reward,
            "extra_info": _texts("id", "image_path"),
        }
    )
    wrong = ["5", "[0, 0, 5, 5]", "[0, 0, 5, 5]", "A"]
    return Sample(good, wrong, broken, features, "train/train_math_mm_math_4.parquet")


def _mmk12() -> Sample:
    from datasets import Features
    from datasets import Image as Picture

    rows = [
        ("Find the side.<image>", "$2\\sqrt{3}$", "math"),
        ("<image>Which gas is it?" + CHOICES, "A", "chemistry"),
        ("<image>How fast is it?", "12", "physics"),
    ]
    good = [
        {"id": f"id{i}", "question": q, "answer": a, "image": _cell(i), "subject": s}
        for i, (q, a, s) in enumerate(rows)
    ]
    last = {**good[2], "id": "id9"}
    broken = [
        ("no_image", {**last, "image": None}),
        ("no_question", {**last, "question": None}),
        ("no_answer", {**last, "answer": None}),
        ("open_answer", {**last, "answer": "It moves because " + "the first force is larger than the other one " * 3}),
        ("unreadable_image", {**last, "image": {"bytes": b"GIF89a", "path": None}}),
        ("repeated_id", {**good[2], "image": _cell(8)}),
    ]
    features = Features({**_texts("id", "question", "answer", "subject"), "image": Picture()})
    return Sample(good, ["3", "B", "13"], broken, features)


def _vlaa_thinking() -> Sample:
    rows = [
        ("How many are left?", 3, "clevr_math/images/0.png"),
        ("What is the angle?", "45", "geoqa170k/images/1.png"),
        ("Which line is red?\n(A) upper\n(B) lower", "A", "arxivqa/2.png"),
        ("Is it open?", "Yes", "docvqa/3.png"),
        ("Where is the cat?", "[10, 20, 30, 40]", "clevr_math/images/4.png"),
    ]
    distilled = "<think> I count three. </think> The answer is 3."
    rest = {"caption": "A picture.", "ds_answer": distilled, "meta": {"source": "x"}}
    good = [{"id": f"v{i}", "image": image, "question": q, "gt": a, **rest} for i, (q, a, image) in enumerate(rows)]
    last = {**good[0], "id": "v9"}
    broken = [
        ("no_image", {**last, "image": None}),
        ("unreadable_image", {**last, "image": "coco/train2017/9.png"}),
        ("no_answer", {**last, "gt": ""}),
        ("bad_value", {**last, "gt": ["a", "b"]}),
        ("no_question", {**last, "question": ""}),
        ("repeated_id", {**good[1], "question": "And now?"}),
        (
            "open_answer",
            {**last, "gt": "The picture shows a small dog that runs over a green meadow towards a red ball."},
        ),
    ]
    settings = {"files": {"train": ["VLAA-Thinking-GRPO-25K.json"]}, "archives": ["images/all.tar.gz"]}
    return Sample(good, ["4", "44", "B", "No", "[0, 0, 5, 5]"], broken, None, "VLAA-Thinking-GRPO-25K.json", settings)


def _multimodal_cold_start() -> Sample:
    sample = _multimodal_rl_data()
    thoughts = [
        "<think>I look at it: 3 and 4 make 7.</think>\n\\boxed{7}",
        "The bar is blue.\n\nTherefore, the answer is \\boxed{B}.",
        "<think>Half of 5.</think> <answer>2.5</answer>",
    ]
    sample.good = [{**row, "answer": thought} for row, thought in zip(sample.good, thoughts, strict=True)]
    sample.broken = [
        (reason, {**row, "answer": "\\boxed{5}" if row["answer"] == "5" else row["answer"]})
        for reason, row in _with_images("problem", "answer", "I cannot tell")
    ]
    return sample


def _multimodal_rl_data() -> Sample:
    from datasets import Features, List
    from datasets import Image as Picture

    rows = [
        ("<image>How many are there? Put the final answer in \\boxed{}.", "7"),
        ("<image>Which colour?\n(A) red\n(B) blue", "\\boxed{B}"),
        ("<image>How long is it?", "2.5"),
    ]
    good = [{"images": [_cell(i)], "problem": q, "answer": a} for i, (q, a) in enumerate(rows)]
    features = Features({"images": List(Picture()), **_texts("problem", "answer")})
    return Sample(good, ["8", "A", "2.4"], _with_images("problem", "answer"), features)


def _multimodal_open_r1() -> Sample:
    from datasets import Features
    from datasets import Image as Picture

    rows = [
        ("What is the value of x?", "<think>Half of 8.</think>\n\n<answer>The answer is 4.</answer>", "4"),
        ("Which is it?" + CHOICES, "<think>It is blue.</think>\n\n<answer>B</answer>", "Answer: B"),
        (
            "How large is the area?",
            "<think>6 by 2.</think>\n\n<answer>12</answer>",
            "Since the sides are 6 and 2 long and meet at right angles, we multiply both, which gives twelve as area",
        ),
    ]
    good = [
        {"image": _cell(i), "problem": p, "solution": s, "original_question": p, "original_answer": o}
        for i, (p, s, o) in enumerate(rows)
    ]
    broken = [
        ("no_image", {**good[0], "image": None}),
        ("no_question", {**good[0], "problem": "", "original_question": ""}),
        ("no_answer", {**good[0], "solution": "<think>Hm.</think>", "original_answer": ""}),
        ("unreadable_image", {**good[0], "image": _cut(_png(5))}),
    ]
    names = ("problem", "solution", "original_question", "original_answer")
    return Sample(good, ["5", "C", "13"], broken, Features({"image": Picture(), **_texts(*names)}))


def _columns() -> Sample:
    good = [
        {"name": "a", "q": "How wide is it?", "a": 2.0, "pic": "pictures/0.png", "of": "measure", "type": "number"},
        {"name": "b", "q": "Which?", "a": "blue", "pic": ["pictures/1.png"], "of": "look", "opts": '["red", "blue"]'},
        {"name": "c", "q": "What is 1 + 1?", "a": "2", "of": "sum"},
    ]
    broken = [
        ("bad_value", {**good[0], "name": "d", "type": "colour"}),
        ("bad_value", {**good[1], "name": "e", "opts": "red or blue"}),
        ("bad_gold", {**good[0], "name": "f", "a": "wide"}),
        ("bad_gold", {**good[1], "name": "g", "a": "pink"}),
        ("no_question", {**good[0], "name": "h", "q": ""}),
        ("no_answer", {"name": "i", "q": "How?"}),
        ("repeated_id", {**good[2], "q": "What is 3 - 1?"}),
        ("unreadable_image", {**good[0], "name": "j", "pic": "/etc/passwd"}),
    ]
    columns = {"id": "name", "question": "q", "answer": "a", "images": "pic", "family": "of"}
    settings = {"columns": {**columns, "kind": "type", "choices": "opts"}}
    return Sample(good, ["3", "red", "3"], broken, None, "train.jsonl", settings)


SAMPLES = {
    "geometry3k": _geometry3k,
    "virl39k": _virl39k,
    "orsta47k": _orsta47k,
    "mmk12": _mmk12,
    "vlaa_thinking": _vlaa_thinking,
    "multimodal_cold_start": _multimodal_cold_start,
    "multimodal_rl_data": _multimodal_rl_data,
    "multimodal_open_r1": _multimodal_open_r1,
    "columns": _columns,
}


def _write_rows(file: Path, rows: list[dict[str, Any]], features: Any) -> None:
    from datasets import Dataset

    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".json":
        file.write_text(json.dumps(rows), encoding="utf-8")
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        Dataset.from_list(rows, features=features).to_parquet(str(file))


def _write_pictures(folder: Path, sample: Sample) -> None:
    """What lies beside tables that name pictures by paths: an archive, or a folder."""
    import tarfile
    import zipfile

    for archive in sample.settings.get("archives", ()):
        place = folder / archive
        place.parent.mkdir(parents=True, exist_ok=True)
        paths = [path for row in sample.good for path in _paths(row.get("image"))]
        if place.suffix == ".zip":
            with zipfile.ZipFile(place, "w") as file:
                for number, path in enumerate(paths):
                    file.writestr(path, _png(number))
        else:
            with tarfile.open(place, "w:gz") as file:
                for number, path in enumerate(paths):
                    entry = tarfile.TarInfo(path)
                    entry.size = len(_png(number))
                    file.addfile(entry, io.BytesIO(_png(number)))
    for number, path in enumerate(path for row in sample.good for path in _paths(row.get("pic"))):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(_png(number))


def _paths(cell: Any) -> list[str]:
    return [one for one in (cell if isinstance(cell, list) else [cell]) if isinstance(one, str)]


@dataclass(frozen=True)
class Written:
    """A dataset on disk."""

    folder: Path
    reader: str
    sample: Sample


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Written]:
    """Writes a dataset in small: ``write_dataset(reader, broken=False)``."""

    def write(reader: str, *, broken: bool = False) -> Written:
        sample = SAMPLES[reader]()
        folder = tmp_path / f"{reader}-{broken}"
        rows = sample.good + ([row for _, row in sample.broken] if broken else [])
        _write_rows(folder / sample.file, rows, sample.features)
        _write_pictures(folder, sample)
        return Written(folder, reader, sample)

    return write


@pytest.fixture
def open_dataset() -> Callable[..., Any]:
    """Opens a dataset that was written, with all of it in one cell if nothing else is said."""
    from specs_lab.problems.sources.dataset import DatasetProblems
    from specs_lab.problems.tasks import Cell

    def opened(written: Written, **changes: Any) -> DatasetProblems:
        settings = {
            "reader": written.reader,
            "path": str(written.folder),
            "instructions": ["r1"],
            "ood_instructions": ["in_words"],
            "alternative_instructions": ["boxed"],
            "ood_styles": ["faded", "dim", "compressed"],
            "cells": {"id": Cell()},
        }
        return DatasetProblems(**{**settings, **written.sample.settings, **changes})

    return opened


@pytest.fixture(params=sorted(SAMPLES))
def reader(request: pytest.FixtureRequest) -> str:
    """Every reader in turn."""
    return request.param
