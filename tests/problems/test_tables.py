"""Tables of real datasets: local folders and files in every layout, repositories of the hub in the local cache."""

import json
import os
from pathlib import Path

import pytest
from datasets import Dataset, Features, List, Value
from datasets import Image as Picture

from specs_lab.core.errors import UserError
from specs_lab.core.pictures import UnreadablePicture, decode_picture
from specs_lab.problems.tables import TableRef, iterate, open_table, picture_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FEATURES = Features({"images": List(Picture()), "number": Value("int64")})


def write_parquet(file: Path, numbers, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"images": [{"bytes": content, "path": "a.png"}], "number": number} for number in numbers]
    Dataset.from_list(rows, features=FEATURES).to_parquet(str(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for data; the store lies beside it."""
    made = tmp_path / "data"
    made.mkdir()
    return made


def numbers(ref: TableRef) -> list[int]:
    return [row["number"] for row in iterate(ref)]


def fault(ref: TableRef) -> str:
    with pytest.raises(UserError) as error:
        list(iterate(ref))
    return str(error.value)


@pytest.mark.parametrize(
    ("files", "ref"),
    [
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"], {}),
        (["train.parquet", "train_more.parquet"], {}),
        (["train/a.parquet", "train/b.parquet"], {}),
        (["algebra/train-00000-of-00001.parquet", "algebra/train_1.parquet"], {"config": "algebra"}),
        (["odd-1.parquet", "odd-2.parquet"], {"files": ("odd-*.parquet",)}),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_is_laid_out_as_a_repository(folder: Path, png, files: list[str], ref: dict, streaming: bool):
    for number, file in enumerate(files):
        write_parquet(folder / file, range(3 * number, 3 * number + 3), png(0))
    if "config" in ref:
        write_parquet(folder / "geometry/train-00000-of-00001.parquet", [99], png(0))
    else:
        name = "test.parquet" if files[0] == "train.parquet" else "test/test-00000-of-00001.parquet"
        write_parquet(folder / name, [99], png(0))
    assert numbers(TableRef(path=str(folder), streaming=streaming, **ref)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("streaming", [False, True])
def test_configurations_of_the_dataset_card_are_known(folder: Path, png, streaming: bool):
    card = """---
configs:
- config_name: plane
  data_files:
  - split: train
    path: some/place.parquet
- config_name: solid
  data_files:
  - split: testmini
    path: other/place.parquet
---
"""
    (folder / "README.md").write_text(card)
    write_parquet(folder / "some/place.parquet", [1], png(0))
    write_parquet(folder / "other/place.parquet", [2], png(0))
    ref = TableRef(path=str(folder), config="solid", split="testmini", streaming=streaming)
    assert numbers(ref) == [2]
    assert "known: train" in fault(TableRef(path=str(folder), config="plane", split="test", streaming=streaming))
    assert "plane" in fault(TableRef(path=str(folder), config="round", streaming=streaming))


def test_tables_are_found_beside_pictures(folder: Path, png):
    """The library would take the folder for a dataset of pictures."""
    for number in range(3):
        (folder / f"train_{number}.png").write_bytes(png(number))
    for name, rows in (("train", [1]), ("val", [2]), ("test", [3])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"number": number}) + "\n" for number in rows))
    assert [numbers(TableRef(path=str(folder), split=split)) for split in ("train", "validation", "test")] == [
        [1],
        [2],
        [3],
    ]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_file_is_a_table(folder: Path, png, name: str, streaming: bool):
    file = folder / name
    if name.endswith(".parquet"):
        write_parquet(file, [1, 2], png(0))
    else:
        rows = [{"number": number} for number in (1, 2)]
        file.write_text(json.dumps(rows) if name.endswith("json") else "\n".join(map(json.dumps, rows)))
    assert numbers(TableRef(path=str(file), streaming=streaming)) == [1, 2]


def test_pictures_are_never_decoded(folder: Path, png):
    write_parquet(folder / "train.parquet", [1], b"no picture at all")
    for streaming in (False, True):
        row = next(iter(iterate(TableRef(path=str(folder), streaming=streaming))))
        assert row["images"] == [{"bytes": b"no picture at all", "path": "a.png"}]


@pytest.mark.parametrize("streaming", [False, True])
def test_values_of_mixed_types_are_what_the_json_says(folder: Path, streaming: bool):
    rows = [{"gt": "A", "meta": {"a": 1}, "n": [{"x": 1}]}, {"gt": 3, "meta": {"b": "2"}, "n": []}, {"gt": "3"}]
    (folder / "train.json").write_text(json.dumps(rows))
    read = list(iterate(TableRef(path=str(folder), streaming=streaming)))
    assert [str(row["gt"]) for row in read] == ["A", "3", "3"]  # where types are mixed, a number in quotes is one too
    assert [row["meta"] for row in read] == [{"a": 1}, {"b": "2"}, None]


def test_a_table_has_random_access(folder: Path, png):
    write_parquet(folder / "train.parquet", range(40), png(0))
    table = open_table(TableRef(path=str(folder)))
    assert (len(table), table[39]["number"], table[0]["number"], table[17]["number"]) == (40, 39, 0, 17)
    assert table.columns == ["images", "number"]
    assert [row["number"] for row in table] == list(range(40))
    for outside in (40, -1):
        with pytest.raises(IndexError):
            table[outside]


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_read_anew(folder: Path):
    file = folder / "train.jsonl"
    for answer in (1, 2):
        file.write_text(json.dumps({"answer": answer}))
        os.utime(file, (1e9, 1e9))
        assert open_table(TableRef(path=str(file)))[0] == {"answer": answer}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_limit_counts_rows_from_the_start(folder: Path, png, streaming: bool):
    write_parquet(folder / "train.parquet", range(9), png(0))
    for limit in (4, 9, 50):
        ref = TableRef(path=str(folder), streaming=streaming, limit=limit)
        assert numbers(ref) == [row["number"] for row in open_table(ref)] == list(range(min(limit, 9)))


def test_streaming_reads_no_further_than_rows_are_taken(folder: Path, png):
    write_parquet(folder / "data/train-00000-of-00002.parquet", [1, 2], png(0))
    (folder / "data/train-00001-of-00002.parquet").write_bytes(b"broken")
    rows = iterate(TableRef(path=str(folder), streaming=True))
    assert [next(rows)["number"], next(rows)["number"]] == [1, 2]
    with pytest.raises(UserError, match="cannot be read"):
        next(rows)


def test_what_is_wrong_with_a_table_is_said(folder: Path, png):
    write_parquet(folder / "good/train.parquet", [1], png(0))
    write_parquet(folder / "part/train-00000-of-00003.parquet", [1], png(0))
    (folder / "empty").mkdir()
    (folder / "note.txt").write_text("x")
    (folder / "broken").mkdir()
    (folder / "broken/train.parquet").write_bytes(b"PAR1 and no more")
    assert "has no split 'validation'" in fault(TableRef(path=str(folder / "good"), split="validation"))
    assert "known: train" in fault(TableRef(path=str(folder / "good"), split="validation"))
    assert "'algebra'" in fault(TableRef(path=str(folder / "good"), config="algebra"))
    assert "there is no such folder or file" in fault(TableRef(path=str(folder / "none")))
    assert "has 1 of the 3 parts of 'train'" in fault(TableRef(path=str(folder / "part")))
    assert "cannot be opened" in fault(TableRef(path=str(folder / "empty")))
    assert "no known kind of file" in fault(TableRef(path=str(folder / "note.txt")))
    for streaming in (False, True):
        assert "cannot be read" in fault(TableRef(path=str(folder / "broken"), streaming=streaming))


def test_an_endless_stream_is_not_opened_as_a_whole(folder: Path, png):
    write_parquet(folder / "train.parquet", [1], png(0))
    with pytest.raises(UserError, match="set a limit"):
        open_table(TableRef(path=str(folder), streaming=True))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a dataset in the hub's local cache, as a download leaves it: links to content."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "datasets--owner--set"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(COMMIT)
    return folder


@pytest.mark.parametrize("streaming", [False, True])
def test_a_downloaded_repository_is_read_without_the_hub(hub_cache: Path, png, streaming: bool):
    write_parquet(hub_cache / "blobs/b", [5, 6], png(0))
    file = hub_cache / "snapshots" / COMMIT / "data/train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    file.symlink_to(hub_cache / "blobs/b")
    assert numbers(TableRef(repo="owner/set", revision=COMMIT, streaming=streaming)) == [5, 6]


def test_a_table_of_the_hub_reads_no_pictures_of_the_current_folder(tmp_path: Path, png, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(png(1))
    folder = picture_folder(TableRef(repo="someone/some-data", revision="0" * 40))
    with pytest.raises(UnreadablePicture, match="there is no file"):
        decode_picture("secret.png", folder)
    with pytest.raises(UserError, match="local-dir"):
        picture_folder(TableRef(repo="someone/some-data", revision="0" * 40, images="pictures"))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_repository_that_is_not_here_cannot_be_read_offline(hub_cache: Path, streaming: bool):
    said = fault(TableRef(repo="owner/set", revision=COMMIT, streaming=streaming))
    assert "hub cannot be reached" in said
    assert "`path`" in said
