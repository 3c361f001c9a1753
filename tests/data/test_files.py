"""A user's own pairs: what is close to the form is read, and what is not is named, row by row."""

import io
import json
import struct
import zlib

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from specs_lab.core import pictures
from specs_lab.core.errors import UserError
from specs_lab.data.files import read_user_pairs
from specs_lab.data.records import PairRecord, read_pairs, write_pairs

GOOD = {"prompt": "How many?", "chosen": "<answer> 1 </answer>", "rejected": "1"}


def _png(mode="RGB", colour="red", size=(6, 4), **options):
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


def _bomb(width, height):
    """A PNG of a few bytes that claims to be huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + _png()[33:]


@pytest.fixture
def jsonl(tmp_path):
    def write(*rows):
        path = tmp_path / "data" / "pairs.jsonl"
        path.parent.mkdir(exist_ok=True)
        (path.parent / "red.png").write_bytes(_png())
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
        return path

    return write


def _parquet(path, **columns):
    parquet.write_table(pyarrow.table(columns), path)
    return path


def _only(result):
    (pair,), counts = result
    assert counts == {"rows": 1}
    return pair


def test_texts_are_enough(jsonl):
    pair = _only(read_user_pairs(jsonl(GOOD)))
    unknown = dict.fromkeys(["chosen_format", "chosen_correct", "rejected_format", "rejected_correct"])
    assert pair == PairRecord(id="row/1", prompt="How many?", chosen="<answer> 1 </answer>", rejected="1", **unknown)


def test_messages_with_text_or_parts_are_read(jsonl):
    row = {
        "prompt": [
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": "How "}, *[{"type": "text", "text": "many?"}]],
            }
        ],
        "chosen": [{"role": "assistant", "content": "one"}],
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "two"}]}],
        "images": ["red.png"],
    }
    pair = _only(read_user_pairs(jsonl(row)))
    assert (pair.prompt, pair.chosen, pair.rejected) == ("How many?", "one", "two")
    assert pair.images[0].getpixel((0, 0)) == (255, 0, 0)


def test_a_picture_may_stand_in_its_place_in_the_prompt(jsonl):
    content = [{"type": "text", "text": "How many?"}, {"type": "image", "image": "red.png"}]
    pair = _only(read_user_pairs(jsonl({**GOOD, "prompt": [{"role": "user", "content": content}]})))
    assert pair.prompt == "How many?<image>"
    assert pair.images[0].size == (6, 4)


def test_completion_is_another_name_of_chosen_and_rejected_may_be_missing(jsonl):
    for rejected in (None, "", []):
        pair = _only(read_user_pairs(jsonl({"prompt": "p", "completion": "c", "rejected": rejected})))
        assert (pair.chosen, pair.rejected) == ("c", None)


def test_a_rejected_side_may_be_demanded(jsonl):
    path = jsonl(GOOD, {**GOOD, "rejected": " "}, {**GOOD, "rejected": None})
    pairs, counts = read_user_pairs(path, needs_rejected=True, skip_broken=True)
    assert len(pairs) == 1
    assert counts == {"rows": 3, "broken/no_rejected": 2}
    with pytest.raises(UserError, match="line 2: has no 'rejected'"):
        read_user_pairs(path, needs_rejected=True)


def test_what_is_known_about_a_row_is_kept(jsonl):
    row = {**GOOD, "id": 7, "answer": 3.5, "cell": "id", "family": "count", "source": "gold", "unknown": [1]}
    pair = _only(read_user_pairs(jsonl(row)))
    assert (pair.id, pair.answer, pair.cell, pair.family, pair.source) == ("7", "3.5", "id", "count", "gold")


def test_marks_for_pictures_stay_and_pictures_keep_their_order(jsonl):
    row = {**GOOD, "prompt": "From <image> to <image>?", "images": ["red.png"], "image": "blue.png"}
    path = jsonl(row)
    (path.parent / "blue.png").write_bytes(_png(colour="blue"))
    pair = _only(read_user_pairs(path))
    assert pair.prompt == "From <image> to <image>?"
    assert [image.getpixel((0, 0)) for image in pair.images] == [(255, 0, 0), (0, 0, 255)]


def test_pictures_without_marks_stand_before_the_text(jsonl):
    pair = _only(read_user_pairs(jsonl({**GOOD, "images": ["red.png", "red.png"]})))
    assert (pair.prompt, len(pair.images)) == (GOOD["prompt"], 2)


def test_places_among_the_parts_take_pictures_from_the_list(jsonl):
    parts = [
        {"type": "text", "text": "From "},
        {"type": "image"},
        {"type": "text", "text": " to "},
        {"type": "image", "image": "blue.png"},
    ]
    path = jsonl({**GOOD, "prompt": [{"role": "user", "content": parts}], "images": ["red.png"]})
    (path.parent / "blue.png").write_bytes(_png(colour="blue"))
    pair = _only(read_user_pairs(path))
    assert pair.prompt == "From <image> to <image>"
    assert [image.getpixel((0, 0)) for image in pair.images] == [(255, 0, 0), (0, 0, 255)]


def test_what_a_system_message_says_is_put_in_front(jsonl):
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief.\n"}]}
    for content in ("How many?", [{"type": "image"}, {"type": "text", "text": "How many?"}]):
        row = {**GOOD, "prompt": [system, {"role": "user", "content": content}], "image": "red.png"}
        pair = _only(read_user_pairs(jsonl(row)))
        assert (pair.prompt, len(pair.images)) == ("Be brief.\n\nHow many?", 1)


def test_our_own_file_with_pictures_in_their_places_is_read(toy_problems, tmp_path):
    images = tuple(p.images[0] for p in toy_problems[:2])
    pairs = [
        PairRecord(id=str(i), prompt=t, chosen="a", images=images) for i, t in enumerate(("<image> or <image>", "x"))
    ]
    write_pairs(tmp_path / "pairs.parquet", pairs)
    again, _ = read_user_pairs(tmp_path / "pairs.parquet")
    assert [pair.prompt for pair in again] == ["<image> or <image>", "x"]
    assert [pair.images for pair in again] == [pair.images for pair in read_pairs(tmp_path / "pairs.parquet")]


def test_our_own_file_is_read_as_it_was(toy_problems, tmp_path):
    pairs = [PairRecord(id=p.id, prompt=p.question, chosen="a", images=p.images, source="x") for p in toy_problems]
    write_pairs(tmp_path / "pairs.parquet", pairs)
    again, counts = read_user_pairs(tmp_path / "pairs.parquet")
    assert counts == {"rows": len(pairs)}
    for one, two in zip(again, read_pairs(tmp_path / "pairs.parquet"), strict=True):
        assert vars(one) | {"image": None} == vars(two) | {"image": None, "chosen_format": None, "chosen_correct": None}
        np.testing.assert_array_equal(np.asarray(one.images[0]), np.asarray(two.images[0]))


def test_pictures_in_parquet_are_bytes_structs_or_paths(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "red.png").write_bytes(_png())
    base = {"prompt": ["p"], "chosen": ["c"]}
    for column in (
        {"image": [_png()]},
        {"images": [[_png()]]},
        {"images": [[{"bytes": _png(), "path": "elsewhere.png"}]]},
        {"images": [[{"bytes": None, "path": "sub/red.png"}]]},
        {"image": ["sub/red.png"]},
    ):
        pair = _only(read_user_pairs(_parquet(tmp_path / "pairs.parquet", **base, **column)))
        assert pair.images[0].size == (6, 4)
        assert pair.images[0].getpixel((5, 3)) == (255, 0, 0)
    pair = _only(read_user_pairs(_parquet(tmp_path / "pairs.parquet", **base, images=[[]])))
    assert pair.images == ()


@pytest.mark.parametrize(
    ("content", "pixel"),
    [
        (_png("RGBA", (0, 0, 0, 0)), (255, 255, 255)),
        (_png("LA", (0, 0)), (255, 255, 255)),
        (_png("P", "red", transparency=0), (255, 255, 255)),
        (_png("L", 128), (128, 128, 128)),
        (_png("RGB", (255, 0, 0), format="JPEG", quality=100), (254, 0, 0)),
        (_png("RGB", (255, 0, 0), format="GIF"), (255, 0, 0)),
    ],
)
def test_pictures_become_rgb_on_white(content, pixel, tmp_path):
    image = pictures.decode_picture(content, tmp_path)
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == pixel


def test_a_picture_taken_sideways_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert pictures.decode_picture(_png(exif=exif), tmp_path).size == (4, 6)


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        ({"chosen": "c"}, "no_prompt", "has no 'prompt'"),
        ({**GOOD, "prompt": " "}, "no_prompt", "has no 'prompt'"),
        ({**GOOD, "prompt": []}, "no_prompt", "has no 'prompt'"),
        ({"prompt": "p"}, "no_chosen", "has no 'chosen'"),
        ({**GOOD, "chosen": "\n"}, "no_chosen", "has no 'chosen'"),
        ({**GOOD, "rejected": f" {GOOD['chosen']}\n"}, "same_sides", "are the same"),
        (
            {**GOOD, "prompt": "<image> p", "images": ["red.png", "red.png"]},
            "image_markers",
            "2 pictures, and places for 1",
        ),
        (
            {**GOOD, "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "p"}]}]},
            "image_markers",
            "0 pictures, and 1 places",
        ),
        (
            {
                **GOOD,
                "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "<image> p"}]}],
                "image": "red.png",
            },
            "image_markers",
            "both parts of type image and <image> marks",
        ),
        ({**GOOD, "prompt": "<image>", "image": "red.png"}, "no_prompt", "has no 'prompt'"),
        ({**GOOD, "prompt": "<image> p"}, "image_markers", "0 pictures, and places for 1"),
        ({**GOOD, "prompt": "<image> <image>", "image": "red.png"}, "image_markers", "places for 2"),
        ({**GOOD, "image": "blue.png"}, "unreadable_image", "no file 'blue.png'"),
        ({**GOOD, "image": "pairs.jsonl"}, "unreadable_image", "is no readable PNG"),
        ({**GOOD, "image": "."}, "unreadable_image", "there is no file"),
        ({**GOOD, "image": "a\0b"}, "unreadable_image", "no path"),
        ({**GOOD, "image": "https://example.org/red.png"}, "unreadable_image", "no path"),
        ({**GOOD, "image": 5}, "unreadable_image", "neither bytes nor a path"),
        ({**GOOD, "prompt": [{"role": "assistant", "content": "p"}]}, "role_order", "not one message of the user"),
        (
            {**GOOD, "prompt": [{"role": name, "content": "p"} for name in ("user", "assistant", "user")]},
            "role_order",
            "a row for each answer",
        ),
        (
            {**GOOD, "prompt": [{"role": name, "content": "p"} for name in ("system", "system", "user")]},
            "role_order",
            "after one of the system or none",
        ),
        ({**GOOD, "prompt": [{"role": "system", "content": "p"}]}, "role_order", "not one message of the user"),
        (
            {**GOOD, "prompt": [{"role": "system", "content": [{"type": "image"}]}, {"role": "user", "content": "p"}]},
            "bad_message",
            "no text",
        ),
        ({**GOOD, "chosen": [{"role": "user", "content": "p"}]}, "role_order", "not one message of the assistant"),
        ({**GOOD, "prompt": 5}, "bad_message", "neither text nor a list of messages"),
        ({**GOOD, "prompt": ["p"]}, "bad_message", "no message"),
        ({**GOOD, "prompt": [{"role": "user", "content": {"text": "p"}}]}, "bad_message", "list of parts"),
        ({**GOOD, "prompt": [{"role": "user", "content": [{"type": "video"}]}]}, "bad_message", "no text or image"),
        ({**GOOD, "chosen": [{"role": "assistant", "content": [{"type": "image"}]}]}, "bad_message", "no text"),
        ({**GOOD, "answer": ["3"]}, "bad_value", "'answer' is no text"),
        ('{"prompt": "p", "chosen": "\\ud800"}', "bad_value", "half of a character"),
        ('{"prompt": "p",', "not_json", "is no JSON"),
        ('["p"]', "not_json", "no JSON object"),
        ("[" * 100_000, "not_json", "is no JSON"),
        ('{"id": ' + "1" * 5000 + "}", "not_json", "is no JSON"),
    ],
)
def test_a_broken_row_is_named_or_left_out_and_counted(jsonl, row, reason, says):
    path = jsonl(GOOD, row, {**GOOD, "id": "last"})
    with pytest.raises(UserError, match="1 problem") as raised:
        read_user_pairs(path)
    assert says in str(raised.value)
    assert raised.value.faults[0].where == f"{path}: line 2"
    kept, counts = read_user_pairs(path, skip_broken=True)
    assert [pair.id for pair in kept] == ["row/1", "last"]
    assert counts == {"rows": 3, f"broken/{reason}": 1}


def test_ids_are_unique(jsonl):
    path = jsonl({**GOOD, "id": "a"}, {**GOOD, "id": "a"})
    with pytest.raises(UserError, match="line 2: an earlier row has the id 'a' too"):
        read_user_pairs(path)


def test_a_line_that_is_no_utf8_is_the_fault_of_that_line_only(jsonl):
    path = jsonl(GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b'\n\n{"prompt": "\xff"}\n')
    with pytest.raises(UserError, match="line 3: is no JSON") as raised:
        read_user_pairs(path)
    assert len(raised.value.faults) == 1


@pytest.mark.parametrize(
    "path", ["../secret.png", "sub/../../secret.png", "..\\secret.png", "C:\\secret.png", "link.png", "away/secret.png"]
)
def test_pictures_outside_the_folder_are_refused(jsonl, path, tmp_path):
    (tmp_path / "secret.png").write_bytes(_png())
    data = jsonl({**GOOD, "image": path})
    (data.parent / "link.png").symlink_to(tmp_path / "secret.png")
    (data.parent / "away").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leaves the folder"):
        read_user_pairs(data)


def test_an_absolute_path_is_refused_even_inside_the_folder(jsonl):
    folder = jsonl(GOOD).parent
    with pytest.raises(UserError, match="leaves the folder"):
        read_user_pairs(jsonl({**GOOD, "image": str(folder / "red.png")}))


@pytest.mark.parametrize(("width", "height"), [(6000, 6000), (10_000, 10_000), (60_000, 60_000)])
def test_huge_pictures_are_refused_before_they_are_unpacked(jsonl, width, height):
    data = jsonl({**GOOD, "image": "bomb.png"})
    (data.parent / "bomb.png").write_bytes(_bomb(width, height))
    with pytest.raises(UserError, match=f"pixels.*{pictures.MAX_PIXELS}"):
        read_user_pairs(data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_damaged_picture_is_refused_or_read_never_anything_else(form, tmp_path):
    content = _png(format=form, size=(40, 30))
    rng = np.random.default_rng(0)
    damaged = [content[:cut] for cut in range(0, len(content), 7)]
    for _ in range(200):
        spoilt = bytearray(content)
        spoilt[rng.integers(len(content))] = rng.integers(256)
        damaged.append(bytes(spoilt))
    refused = 0
    for one in damaged:
        try:
            assert pictures.decode_picture(one, tmp_path).mode == "RGB"
        except pictures.UnreadablePicture:
            refused += 1
    assert refused > 0


def test_all_faults_come_together_and_the_rest_is_counted(jsonl):
    path = jsonl(*[{**GOOD, "chosen": ""}] * 15, *[{**GOOD, "prompt": ""}] * 10, GOOD)
    with pytest.raises(UserError) as raised:
        read_user_pairs(path)
    assert [fault.where for fault in raised.value.faults[:20]] == [f"{path}: line {n}" for n in range(1, 21)]
    (rest,) = raised.value.faults[20:]
    assert rest.what == "5 more rows of 26 are broken (in all: no_chosen: 15, no_prompt: 10)"


def test_a_file_without_any_usable_row_is_an_error_even_where_broken_rows_are_left_out(jsonl):
    with pytest.raises(UserError, match="has no 'chosen'"):
        read_user_pairs(jsonl({"prompt": "p"}), skip_broken=True)
    with pytest.raises(UserError, match="has no rows"):
        read_user_pairs(jsonl(""))


def test_reading_stops_at_the_limit(jsonl):
    path = jsonl(GOOD, GOOD, "this line is never looked at")
    pairs, counts = read_user_pairs(path, limit=2)
    assert len(pairs) == counts["rows"] == 2


def test_missing_columns_are_found_before_any_row_is_read(tmp_path):
    path = _parquet(tmp_path / "pairs.parquet", question=["p"], completion=["c"])
    with pytest.raises(UserError, match=r"has no column 'prompt' \(it has: question, completion\)") as raised:
        read_user_pairs(path, skip_broken=True)
    assert len(raised.value.faults) == 1


def test_files_that_are_none_of_both_kinds_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_user_pairs(tmp_path / "none.jsonl")
    for name, says in (("pairs.csv", "'.csv' is no known kind"), ("pairs.parquet", "no readable parquet file")):
        (tmp_path / name).write_text("prompt,chosen")
        with pytest.raises(UserError, match=says):
            read_user_pairs(tmp_path / name)
