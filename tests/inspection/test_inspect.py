"""``specs-lab inspect`` writes a page with pictures of what problems are made of."""

import json
from collections import Counter
from pathlib import Path

import pytest
from huggingface_hub import constants
from PIL import Image, ImageDraw

from specs_lab import inspect_problems
from specs_lab.core.progress import Progress
from specs_lab.inspection.overview import Overview, measure_of, overview
from specs_lab.inspection.page import overview_page
from specs_lab.inspection.pictures import draw_figures, draw_sheet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Problems of one's own: 30 sound ones in two families, and three broken rows."""
    made = tmp_path / "data"
    (made / "pictures").mkdir(parents=True)
    rows = []
    for number in range(30):
        image = Image.new("RGB", (60 + 10 * number, 80), "white")
        ImageDraw.Draw(image).ellipse((5, 5, 30 + number, 60), fill=(8 * number, 90, 150))
        image.save(made / f"pictures/{number}.png")
        question = f"How large is | the <b>disc</b> in picture {number}?" + " It is drawn by hand." * (number % 5)
        rows.append({"question": question, "answer": str(number), "images": [f"pictures/{number}.png"]})
        rows[-1]["family"] = ("disc | round", "blob")[number % 2]
    rows += [{**rows[0], "answer": ""}, {**rows[0], "answer": ""}, {**rows[0], "images": ["pictures/99.png"]}]
    (made / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def inspect(*arguments: str) -> int:
    """The exit code."""
    try:
        inspect_problems.main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_page_tells_what_became_of_the_rows(folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "page"
    given = ("problems=local", f"problems.path={folder}", "problems.ood_families=[blob]", "--out", str(out))
    assert inspect(*given, "--rows", "15") == 0
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "33 rows were read; 30 can be used, 3 (9.1 %) cannot." in page
    assert "| no_answer | 2 | row 30 of train: has no answer |" in page
    assert "| unreadable_image | 1 | row 32 of train: a picture there is no file" in page
    assert "| disc \\| round | id | 15 | 50.0 % |" in page
    assert "| blob | ood | 15 | 50.0 % |" in page
    assert "| integer | 30 | 100.0 % |" in page
    assert "| pixels | 4,800 |" in page
    assert "length in tokens of 15 prompts" in page
    for name in ("figures.png", "samples.png"):
        assert f"({name})" in page
        with Image.open(out / name) as image:
            assert image.width == 1440
    shown = capsys.readouterr().out
    assert "33 rows read, 30 can be used" in shown
    assert "2 no_answer: row 30 of train" in shown
    assert str(out / "README.md") in shown.replace("\n", "")


def test_drawn_problems_have_a_page_too(tmp_path: Path):
    assert inspect("problems=procedural", "--out", str(tmp_path / "page"), "--rows", "24") == 0
    page = (tmp_path / "page/README.md").read_text(encoding="utf-8")
    assert "counted on 24 of them" in page
    assert "| pixels | 4,096 | 4,096 |" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("problems=nobody",), "nobody"),
        (("problems=local", "problems.path=/no/such/place"), "there is no '/no/such/place'"),
        (("problems=geometry3k",), "the hub cannot be reached"),
    ],
)
def test_wrong_input_is_a_user_error(arguments: tuple[str, ...], said: str, tmp_path: Path, capsys):
    assert inspect(*arguments, "--out", str(tmp_path / "page")) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path, capsys):
    (tmp_path / "file").write_text("x")
    assert inspect("problems=procedural", "--rows", "1", "--out", str(tmp_path / "file/page")) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_lengths_are_those_of_the_encoded_prompts(folder: Path):
    from specs_lab.models.sources.embedded import EmbeddedModel
    from specs_lab.models.vlm import VLM
    from specs_lab.problems.sources.dataset import DatasetProblems
    from specs_lab.problems.tasks import Cell

    model = EmbeddedModel(size="tiny")
    measure, unit = measure_of(model)
    problems = DatasetProblems(path=str(folder), instructions=["tags"], cells={"id": Cell()})
    found = overview(problems, 6, measure, unit, Progress())
    assert (unit, found.drawn, len(found.samples)) == ("tokens", 6, 6)
    vlm = VLM.load(model.folder)
    tasks = sorted(found.samples, key=lambda task: task.id)
    prompts = vlm.encode_prompts([t.text for t in tasks], [t.images for t in tasks], [t.id for t in tasks])
    assert sorted(len(prompt.token_ids) for prompt in prompts) == sorted(found.lengths)
    pictures = [int((prompt.token_ids == vlm.family.image_id).sum()) for prompt in prompts]
    assert sorted(pictures) == sorted(found.of_pictures)
    assert min(pictures) > 0


def test_without_a_model_on_this_machine_lengths_are_in_characters(monkeypatch):
    from specs_lab.models.sources.hub import HubModel
    from specs_lab.problems.sources.procedural import ProceduralProblems
    from specs_lab.problems.tasks import Cell

    measure, unit = measure_of(None)
    problems = ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"], cells={"id": Cell()})
    task = problems.draw_task("id", "id", "test", 0)
    assert (unit, measure(task)) == ("characters", (len(task.text), 0))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert measure_of(HubModel(repo="someone/else"))[1] == "characters"


def test_pages_and_pictures_of_odd_sources(tmp_path: Path):
    """Nothing kept, one size only, and names in letters that no font has."""
    odd = Overview(rows=3, broken=Counter({"no_answer": 3}), examples={"no_answer": "row 0: \u0639 | <x>"})
    one = Overview(
        families=Counter({"\u4e2d\u6587 $x$": 4}), splits=Counter({"id": 4}), pixels=[9] * 4, lengths=[5] * 4
    )
    many = Overview(
        families=Counter({f"family number {i} with a long name": 50 - i for i in range(50)}),
        splits=Counter({"train": 1275}),
        pixels=[10**k for k in range(1, 8)],
        lengths=[1, 5000],
    )
    for number, found in enumerate((odd, one, many)):
        page = overview_page("a | b", {"path": "x|y"}, found)
        assert "a \\| b" in page
        assert "x\\|y" in page
        draw_figures("a $ b", found, tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1000
    draw_sheet([], tmp_path / "none.png")
