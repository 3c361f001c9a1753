"""The card of a data set says what is in it, is a page that loads as a data set, and is the same every time."""

import json
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import yaml
from datasets import load_dataset
from PIL import Image

from specs_lab.core.plotting import COLOURS
from specs_lab.data.card import card_facts, write_card
from specs_lab.data.card_page import card_page, yields
from specs_lab.data.card_pictures import choose_examples, draw_samples
from specs_lab.data.records import PairRecord, write_pairs

FILES = ["README.md", "card.json", "card.png", "samples.png"]
COUNTS = {"prompts": 40, "no_chosen": 12, "no_rejected": 20, "cut/self": 2, "pollution/no_tags": 5, "pairs": 5}
OPTIONS = {"pairs": 8, "pollutions": {"no_tags": 1.0}, "mixture": ["id"], "form": "a|b <i>"}


@pytest.fixture
def pairs(toy_problems):
    return [
        PairRecord(
            id=p.id,
            prompt=p.question,
            chosen=f"<think> {p.reasoning} </think> <answer> {p.answer} </answer>",
            images=p.images,
            rejected=p.answer,
            cell="id",
            family=p.family,
            source="self",
            pollution="no_tags",
            chosen_correct=i != 0,
            rejected_format=False,
            rejected_correct=None if i == 0 else i < 3,
        )
        for i, p in enumerate(toy_problems)
    ]


def _write(folder, records, **changes):
    folder.mkdir(exist_ok=True)
    write_card(folder, **{"name": "self_distill", "options": OPTIONS, "records": records, "counts": COUNTS, **changes})
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _pixels(path):
    with Image.open(path) as image:
        return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def _rgb(colour):
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_the_card_counts_what_is_there(pairs):
    facts = card_facts("self_distill", OPTIONS, pairs, COUNTS)
    assert {name: facts[name] for name in COUNTS} == COUNTS
    assert facts["sides"] == {
        "chosen": {"count": 5, "format": 1.0, "correct": 0.8},
        "rejected": {"count": 5, "format": 0.0, "correct": 0.5},
    }
    assert facts["by_family"] == {"add": 1, "arrow": 1, "clock": 1, "count": 1, "digits": 1}
    assert facts["by_pollution"] == {"no_tags": 5}
    assert (facts["by_cell"], facts["by_source"]) == ({"id": 5}, {"self": 5})
    assert facts["distinct"]["prompts"] == facts["distinct"]["pictures"] == 5


@pytest.mark.parametrize(("longest", "width"), [(0, 1), (19, 1), (21, 2), (95, 5), (150, 10), (4001, 500)])
def test_lengths_fall_into_bins_that_both_sides_share(longest, width):
    records = [PairRecord(id="a", prompt="p", chosen="x" * longest, rejected="ab cd"[:longest])] * 3
    lengths = card_facts("file", {}, records, {})["lengths"]["characters"]
    edges = lengths["edges"]
    assert edges == [width * i for i in range(len(edges))]
    assert edges[-2] <= longest < edges[-1]
    for side, length in (("chosen", longest), ("rejected", min(5, longest))):
        (place,) = np.flatnonzero(lengths[side]["histogram"])
        assert lengths[side]["histogram"][place] == 3
        assert edges[place] <= length < edges[place + 1]
        assert lengths[side]["mean"] == lengths[side]["median"] == length


def test_words_are_counted_too(pairs):
    records = [replace(pairs[0], chosen="a bc\nd"), replace(pairs[0], chosen="one")]
    words = card_facts("file", {}, records, {})["lengths"]["words"]
    assert (words["chosen"]["least"], words["chosen"]["most"], words["chosen"]["mean"]) == (1, 3, 2)


def test_near_duplicates_differ_at_most_in_case_and_punctuation(pairs):
    one = pairs[0]
    records = [one, replace(one, chosen=one.chosen.upper() + " !"), replace(one, images=pairs[1].images)]
    assert card_facts("file", {}, records, {})["distinct"] == {
        "prompts": 2,
        "prompt_texts": 1,
        "pictures": 2,
        "chosen": 2,
        "near_duplicates": 1,
    }


def test_the_yield_goes_from_what_went_in_to_what_came_out(pairs):
    facts = card_facts("self_distill", OPTIONS, pairs, COUNTS)
    assert yields(facts) == [("prompts", 40), ("no_rejected", 20), ("no_chosen", 12), ("cut/self", 2), ("pairs", 5)]
    assert yields(card_facts("gold", {}, pairs, {})) == [("pairs", 5)]


def test_the_folder_is_a_data_set_to_load_by_its_name(pairs, tmp_path):
    folder = tmp_path / "set"
    assert sorted(_write(folder, pairs)) == FILES
    write_pairs(folder / "pairs.parquet", pairs)
    (folder / "manifest.json").write_text("{}")
    table = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(table) == 5
    assert table[0]["images"][0].size == (64, 64)
    assert table[0]["chosen"][0]["content"] == pairs[0].chosen


def test_the_page_tells_settings_yield_and_sides_whatever_marks_they_hold(pairs):
    page = card_page(card_facts("self_distill", OPTIONS, pairs, COUNTS))
    _, matter, body = page.split("---\n", 2)
    assert yaml.safe_load(matter)["configs"][0]["data_files"] == [{"split": "train", "path": "pairs.parquet"}]
    for line in (
        "| pollutions.no_tags | 1.0 |",
        '| mixture | ["id"] |',
        "| form | a\\|b &lt;i> |",
        "| no_rejected | 20 |",
        "| rejected | 5 | 0.0 % | 50.0 % |",
        "| no_tags | 5 | 100.0 % |",
    ):
        assert f"\n{line}\n" in body
    assert "\n\n\n" not in body


def test_a_data_set_without_rejected_sides_does_not_speak_of_pairs_of_sides(pairs, tmp_path):
    records = [replace(p, rejected=None, rejected_format=None, rejected_correct=None, pollution="") for p in pairs]
    files = _write(tmp_path / "set", records, counts={})
    facts = json.loads(files["card.json"])
    assert facts["sides"]["rejected"] == {"count": 0, "format": None, "correct": None}
    assert "| rejected | 0" not in files["README.md"].decode()
    assert "sft" in files["README.md"].decode().split("---")[1]
    for name in ("card.png", "samples.png"):
        pixels = _pixels(tmp_path / "set" / name)
        assert _rgb(COLOURS[2]) in pixels
        assert _rgb(COLOURS[1]) not in pixels


def test_the_same_pairs_give_the_same_files_whatever_the_users_settings(pairs, tmp_path):
    first = _write(tmp_path / "a", pairs)
    with matplotlib.rc_context({"font.size": 33.0, "font.family": "serif"}):
        assert _write(tmp_path / "b", pairs) == first
        assert matplotlib.rcParams["font.size"] == 33.0


def test_any_text_can_be_drawn(tmp_path):
    """Mathematics is shown as it was written, unknown characters as boxes; a warning would fail this test."""
    texts = [
        "$x_1$ and \\frac{1}{2} $",
        "\u65e5\u672c \U0001f600 \x00\x07 \ufeff",
        "a" * 5000,
        "\n" * 100,
        "\t\r\n ",
        "b",
    ]
    records = [
        PairRecord(id=f"{i}{t[:20]}", prompt=t, chosen=t, rejected="c" + t, family=t[:9], pollution=t, source=t)
        for i, t in enumerate(texts)
    ]
    files = _write(
        tmp_path / "set",
        records,
        name="$\\frac$ \U0001f600",
        counts={"$\\frac$": 3, "many/words of a long name" * 9: 2},
    )
    assert sorted(files) == FILES


def test_an_example_shows_its_picture_and_both_sides_in_their_colours(pairs, tmp_path):
    draw_samples(pairs[:1], tmp_path / "samples.png")
    pixels = _pixels(tmp_path / "samples.png")
    assert {_rgb(COLOURS[1]), _rgb(COLOURS[2])} <= pixels
    painted = {tuple(pixel) for pixel in np.asarray(pairs[0].images[0]).reshape(-1, 3).tolist()}
    assert len(painted & pixels) > 1


def test_a_larger_sheet_is_drawn_for_longer_texts_up_to_a_bound(pairs, tmp_path):
    heights = []
    for length in (1, 400, 4_000, 40_000):
        draw_samples([replace(pairs[0], chosen="word " * length)], tmp_path / "samples.png")
        with Image.open(tmp_path / "samples.png") as image:
            heights.append(image.height)
    assert heights[0] < heights[1] == heights[2] == heights[3]


def test_examples_show_all_families_and_pollutions_before_any_twice(pairs):
    common = [replace(pairs[0], id=f"common {i}", family="count", pollution="no_tags") for i in range(50)]
    rare = [replace(pairs[0], id=f"rare {i}", family=f"family {i}", pollution=f"way {i}") for i in range(6)]
    chosen = choose_examples([*common, *rare], 10)
    assert {record.family for record in chosen} == {"count", *(f"family {i}" for i in range(6))}
    assert [r.id for r in chosen if r.family == "count"] == [f"common {i}" for i in range(4)]
    assert len(choose_examples(rare, 10)) == 6


def test_many_groups_are_summed_up(pairs, tmp_path):
    records = [replace(pairs[0], id=str(i), family=f"family {i:03}") for i in range(300)]
    _write(tmp_path / "set", records, counts={f"count {i}": i for i in range(60)})
    with Image.open(tmp_path / "set" / "card.png") as image:
        assert image.width == 1440


def test_a_card_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one pair"):
        _write(tmp_path / "set", [])
