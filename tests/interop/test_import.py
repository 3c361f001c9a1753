"""Data of other trainers, by their real schemas: what is read, and every kind of row that cannot be used."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from specs_lab import import_data
from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.data.files import read_user_pairs
from specs_lab.data.records import read_pairs
from specs_lab.interop import llama_factory
from specs_lab.interop.easyr1 import Keys
from specs_lab.interop.importing import import_easyr1, import_llama_factory
from specs_lab.problems.readers.base import READERS, Place
from specs_lab.problems.tables import TableRef, open_table


def _png(colour="red", size=(6, 4)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name in ("red", "blue"):
        (tmp_path / "media").mkdir(exist_ok=True)
        (tmp_path / "media" / f"{name}.png").write_bytes(_png(name))
    (tmp_path / "media" / "broken.png").write_bytes(b"none")
    return tmp_path


def _write(path, rows):
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows), encoding="utf-8")
    return path


def _from(*texts, roles=("human", "gpt")):
    return [{"from": roles[i % len(roles)], "value": text} for i, text in enumerate(texts)]


# -- LLaMA-Factory -----------------------------------------------------------------------------------------------------

GOOD = {"conversations": _from("<image>How many?", "one"), "images": ["media/red.png"]}
PREFERENCE = {
    "conversations": _from("<image><image>Which?"),
    "chosen": {"from": "gpt", "value": "the first"},
    "rejected": {"from": "gpt", "value": "none"},
    "images": ["media/red.png", "media/blue.png"],
    "system": "Be brief.",
}
OPENAI = {
    "messages": [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": "Before <image> after"},
        {"role": "assistant", "content": "yes"},
    ],
    "images": ["media/blue.png"],
}


def _llama(path, to, **options):
    return import_llama_factory(path, to, progress=Progress(), **options)


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_sharegpt_and_openai_rows_and_preferences_become_pairs(folder, ending):
    path = _write(folder / f"data.{ending}", [GOOD, PREFERENCE, OPENAI, {"conversations": _from("2 + 2?", "4")}])
    assert _llama(path, folder / "pairs.parquet") == {"rows": 4}
    one, two, three, four = read_pairs(folder / "pairs.parquet")
    assert (one.prompt, one.chosen, one.rejected, one.id) == ("How many?", "one", None, "row/1")
    assert (two.prompt, two.chosen, two.rejected) == ("Be brief.\n\n<image><image>Which?", "the first", "none")
    assert [image.getpixel((0, 0)) for image in two.images] == [(255, 0, 0), (0, 0, 255)]
    assert (three.prompt, three.chosen) == ("Think.\n\nBefore <image> after", "yes")
    assert (four.prompt, four.images) == ("2 + 2?", ())
    assert {pair.source for pair in (one, two, three, four)} == {"llama_factory"}
    again, counts = read_user_pairs(folder / "pairs.parquet")
    assert counts == {"rows": 4}
    assert [pair.prompt for pair in again] == [one.prompt, two.prompt, three.prompt, four.prompt]


def test_pictures_may_lie_elsewhere(folder, tmp_path_factory):
    path = _write(tmp_path_factory.mktemp("data") / "data.json", [{**GOOD, "images": ["red.png"]}])
    _llama(path, folder / "pairs.parquet", images=folder / "media")
    np.testing.assert_array_equal(np.asarray(read_pairs(folder / "pairs.parquet")[0].images[0])[0, 0], [255, 0, 0])


def test_other_names_are_read_from_a_dataset_info(folder):
    row = {
        "talk": [{"who": "u", "says": "<image>p"}, {"who": "a", "says": "c"}],
        "pictures": ["media/red.png"],
        "instructions": "s",
    }
    path = _write(folder / "mine.json", [row])
    entry = {
        "file_name": "mine.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "images": "pictures", "system": "instructions"},
        "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "u", "assistant_tag": "a"},
    }
    info = _write(folder / "dataset_info.json", {"mine": entry, "other": {"hf_hub_url": "a/b"}})
    _llama(path, folder / "pairs.parquet", layout=llama_factory.read_layout(info, path))
    (pair,) = read_pairs(folder / "pairs.parquet")
    assert (pair.prompt, pair.chosen, len(pair.images)) == ("s\n\n<image>p", "c", 1)


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("{", None, "no readable dataset_info.json"),
        ("[]", None, "no readable dataset_info.json"),
        ('{"a": {"file_name": "x.json"}}', None, "0 of its entries name mine.json"),
        ('{"a": {"file_name": "mine.json"}, "b": {"file_name": "mine.json"}}', None, "2 of its entries"),
        ('{"a": {"file_name": "mine.json"}}', "aa", "did you mean 'a'"),
        ('{"a": {"file_name": "mine.json"}}', "a", "its formatting is 'alpaca'"),
    ],
)
def test_a_dataset_info_that_does_not_help_is_refused(folder, content, name, says):
    (folder / "dataset_info.json").write_text(content)
    with pytest.raises(UserError, match=says):
        llama_factory.read_layout(folder / "dataset_info.json", folder / "mine.json", name)


BROKEN_LLAMA = [
    ("{", "not_json", "is no JSON"),
    ({"images": []}, "no_prompt", "no text of the user"),
    ({**GOOD, "conversations": _from("<image>", "one")}, "no_prompt", "no text of the user"),
    ({**GOOD, "conversations": _from("<image>p")}, "no_chosen", "ends with the user"),
    ({**GOOD, "conversations": _from("<image>p", " ")}, "no_chosen", "empty one"),
    ({**PREFERENCE, "rejected": None}, "no_rejected", "has no 'rejected'"),
    ({**PREFERENCE, "rejected": PREFERENCE["chosen"]}, "same_sides", "are the same"),
    ({**GOOD, "conversations": _from("<image>p", "a", "q", "b")}, "multi_turn", "has 4 messages"),
    ({**PREFERENCE, "conversations": _from("p", "a", "<image><image>q")}, "multi_turn", "before its sides"),
    ({**GOOD, "conversations": _from("a", "<image>p", roles=("gpt", "human"))}, "role_order", "assistant', 'user"),
    ({**PREFERENCE, "conversations": _from("<image><image>p", "a")}, "role_order", "before its sides"),
    ({**PREFERENCE, "chosen": {"from": "human", "value": "a"}}, "role_order", "'chosen' is not one message"),
    ({**GOOD, "conversations": _from("<image>p", "a", roles=("human", "function_call"))}, "tools", "function_call"),
    ({**GOOD, "videos": ["a.mp4"]}, "other_media", "has videos"),
    ({**GOOD, "audios": ["a.wav"]}, "other_media", "has audios"),
    ({**GOOD, "conversations": "p"}, "bad_message", "no list of messages"),
    ({**GOOD, "conversations": [{"from": "human"}]}, "bad_message", "without a text under 'value'"),
    ({**GOOD, "conversations": _from("<image>p", "a", roles=("human", "bot"))}, "bad_message", "known: human, gpt"),
    ({**GOOD, "conversations": _from("<image><image>p", "a")}, "image_markers", "1 pictures, and places for 2"),
    ({**GOOD, "conversations": _from("<image>p", "a <image>")}, "image_markers", "outside the user's text"),
    ({**GOOD, "images": ["media/none.png"]}, "unreadable_image", "no file"),
    ({**GOOD, "images": ["media/broken.png"]}, "unreadable_image", "no readable"),
    ({**GOOD, "images": ["../secret.png"]}, "unreadable_image", "leaves the folder"),
    ({**GOOD, "id": "first"}, "repeated_id", "an earlier row has the id 'first'"),
    ({**GOOD, "id": ["a"]}, "bad_value", "'id' is no text"),
    ({**GOOD, "system": 5}, "bad_value", "'system' is no text"),
    ({**GOOD, "conversations": _from("<image>p", "\ud800")}, "bad_value", "half of a character"),
]


@pytest.mark.parametrize(("row", "reason", "says"), BROKEN_LLAMA)
def test_a_broken_conversation_is_named_or_left_out_and_counted(folder, row, reason, says):
    path = _write(folder / "data.jsonl", [{**GOOD, "id": "first"}, row])
    with pytest.raises(UserError, match="1 problem") as raised:
        _llama(path, folder / "pairs.parquet")
    assert says in str(raised.value)
    assert raised.value.faults[0].where == f"{path}: line 2"
    assert sorted(one.name for one in folder.iterdir()) == ["data.jsonl", "media"]
    assert _llama(path, folder / "pairs.parquet", skip_broken=True) == {"rows": 2, f"broken/{reason}": 1}
    assert len(read_pairs(folder / "pairs.parquet")) == 1


def test_every_kind_of_broken_conversation_has_a_case():
    assert {reason for _, reason, _ in BROKEN_LLAMA} == set(llama_factory.FIXES)


# -- EasyR1 ------------------------------------------------------------------------------------------------------------

PROBLEM = {"problem": "<image>Find x.", "answer": "3", "images": ["media/red.png"]}


def _easyr1(path, to, **options):
    return import_easyr1(path, to, **{"keys": Keys(), "progress": Progress(), **options})


def _rows(folder, split="train"):
    return list(open_table(TableRef(path=str(folder), split=split)))


def test_problems_become_a_table_that_local_problems_are_drawn_from(folder):
    import datasets

    features = datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            "problem": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    (folder / "data").mkdir()
    for split, count in (("train", 2), ("test", 1)):
        rows = [{**PROBLEM, "images": [{"bytes": _png("blue"), "path": None}]}] * count
        table = datasets.Dataset.from_list(rows, features=features)
        table.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    assert _easyr1(folder / "data", folder / "problems") == {"train": {"rows": 2}, "test": {"rows": 1}}
    row, _ = _rows(folder / "problems")
    read = READERS.get("columns")(row, Place())
    assert (read.question, read.answer, len(read.images)) == ("<image>Find x.", "3", 1)
    assert len(_rows(folder / "problems", "test")) == 1


def test_json_lines_with_paths_and_other_keys_are_read(folder):
    rows = [{"q": "How many?", "gt": 4, "pics": "media/red.png", "id": "a"}, {"q": "2 + 2?", "gt": "4"}]
    path = _write(folder / "rows.jsonl", rows)
    _easyr1(path, folder / "problems", keys=Keys(prompt="q", answer="gt", images="pics"))
    one, two = _rows(folder / "problems")
    assert (one["id"], one["question"], one["answer"]) == ("a", "How many?", "4")
    assert one["images"][0]["bytes"] == _png("red")
    assert (two["id"], two["images"]) == ("2", [])


BROKEN_EASYR1 = [
    ("[]", "not_json", "no JSON object"),
    ({**PROBLEM, "problem": "<image> "}, "no_question", "has no 'problem'"),
    ({**PROBLEM, "answer": ""}, "no_answer", "has no 'answer'"),
    ({**PROBLEM, "answer": ["3"]}, "bad_value", "'answer' is no text"),
    ({**PROBLEM, "problem": "<image><image>Find x."}, "image_markers", "1 pictures, and places for 2"),
    ({**PROBLEM, "images": ["media/broken.png"]}, "unreadable_image", "no readable"),
    ({**PROBLEM, "videos": ["a.mp4"]}, "other_media", "has videos"),
    ({**PROBLEM, "id": "first"}, "repeated_id", "an earlier row has the id 'first'"),
]


@pytest.mark.parametrize(("row", "reason", "says"), BROKEN_EASYR1)
def test_a_broken_problem_is_named_or_left_out_and_counted(folder, row, reason, says):
    path = _write(folder / "train.jsonl", [{**PROBLEM, "id": "first"}, row])
    with pytest.raises(UserError, match="1 problem") as raised:
        _easyr1(path, folder / "problems")
    assert says in str(raised.value)
    assert sorted(one.name for one in folder.iterdir()) == ["media", "train.jsonl"]
    counts = _easyr1(path, folder / "problems", skip_broken=True)
    assert counts == {"train": {"rows": 2, f"broken/{reason}": 1}}
    assert len(_rows(folder / "problems")) == 1


def test_every_kind_of_broken_problem_has_a_case():
    from specs_lab.interop import easyr1

    assert {reason for _, reason, _ in BROKEN_EASYR1} == set(easyr1.FIXES)


def test_a_folder_whose_files_tell_no_split_or_lack_a_part_is_refused(folder):
    (folder / "some").mkdir()
    with pytest.raises(UserError, match=r"holds no \.parquet"):
        _easyr1(folder / "some", folder / "problems")
    for name in ("a.jsonl", "b.jsonl"):
        _write(folder / "some" / name, [PROBLEM])
    with pytest.raises(UserError, match="which split its files are: a"):
        _easyr1(folder / "some", folder / "problems")
    _write(folder / "some" / "train-00000-of-00003.jsonl", [PROBLEM])
    _write(folder / "some" / "train-00002-of-00003.jsonl", [PROBLEM])
    with pytest.raises(UserError, match="has 2 of the 3 parts of 'train'"):
        _easyr1(folder / "some", folder / "problems")


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_what_was_read_and_left_out(folder, capsys):
    path = _write(folder / "data.json", [GOOD, {**GOOD, "images": []}])
    to = folder / "pairs.parquet"
    import_data.main(["llama_factory", str(path), "--to", str(to), "--skip-broken"])
    said = capsys.readouterr().out
    assert f"{to}: 1 pairs of 2 rows; left out: image_markers 1" in said
    assert f"data=file data.path={to} coldstart=sft data.rejected=false\n" in said
    with pytest.raises(SystemExit, match="2"):
        import_data.main(["llama_factory", str(path), "--to", str(to)])
    assert "exists already" in capsys.readouterr().err
    problems = _write(folder / "train.jsonl", [PROBLEM])
    import_data.main(["easyr1", str(problems), "--to", str(folder / "problems")])
    said = capsys.readouterr().out
    assert "train: 1 problems of 1 rows" in said
    assert said.endswith(f"problems.path={folder / 'problems'}\n")


def test_the_command_names_the_words_that_train_on_what_it_wrote(folder, capsys):
    path = _write(folder / "data.json", [PREFERENCE])
    import_data.main(["llama_factory", str(path), "--to", str(folder / "pairs.parquet")])
    assert capsys.readouterr().out.endswith(f"data.path={folder / 'pairs.parquet'}\n")
    (folder / "easy").mkdir()
    for split in ("train", "test"):
        _write(folder / "easy" / f"{split}.jsonl", [{"problem": "How many?", "answer": "1"}])
    import_data.main(["easyr1", str(folder / "easy"), "--to", str(folder / "problems")])
    assert "problems.splits.id=test problems.splits.ood=test\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["llama_factory", "none.json", "--to", "pairs.parquet"], "there is no such file"),
        (["llama_factory", "data.csv", "--to", "pairs.parquet"], "'.csv' is no known kind of file"),
        (["llama_factory", "text.json", "--to", "pairs.parquet"], "is no JSON list"),
        (["llama_factory", "data.json", "--to", "pairs"], "does not end in .parquet"),
        (["llama_factory", "empty.json", "--to", "pairs.parquet"], "has no rows"),
        (["llama_factory", "data.json", "--to", "pairs.parquet", "--name", "a"], "--dataset-info, which is not given"),
        (["easyr1", "none", "--to", "problems"], "holds no"),
        (["easyr1", "data.json", "--to", "media"], "media is not empty"),
    ],
)
def test_wrong_input_is_one_clear_message(folder, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(folder)
    (folder / "data.csv").write_text("a")
    _write(folder / "data.json", [GOOD])
    _write(folder / "empty.json", [])
    (folder / "text.json").write_text('{"a": 1}')
    with pytest.raises(SystemExit, match="2"):
        import_data.main(arguments)
    assert says in capsys.readouterr().err
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]
