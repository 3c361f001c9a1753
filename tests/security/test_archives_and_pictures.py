"""Archives, pictures and tables that somebody made to do harm."""

import gzip
import io
import json
import os
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from specs_lab.core import pictures
from specs_lab.core.errors import UserError
from specs_lab.core.pictures import MAX_PIXELS, UnreadablePicture, decode_picture, picture_size
from specs_lab.data import row_files
from specs_lab.data.files import read_user_pairs
from specs_lab.problems import archives
from specs_lab.problems.archives import unpacked
from specs_lab.problems.tables import TableRef, iterate

HOSTILE = ["../evil", "a/../../evil", "/evil", "..", "a\\..\\evil"]


def tar_of(path: Path, *entries: tarfile.TarInfo, mode: str = "w:gz", content: bytes = b"x") -> Path:
    with tarfile.open(path, mode) as file:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            file.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return path


def entry_of(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def outside(tmp_path: Path, store: Path) -> list[Path]:
    """Files that were written anywhere but below the folder of what is unpacked, or left there."""
    return [path for path in tmp_path.rglob("*evil*") if path.suffix not in (".zip", ".tgz")]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, own_store: Path, name: str):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("x")
        info.filename = name
        file.writestr(info, b"x")
    for archive in (path, tar_of(tmp_path / "x.tgz", entry_of(name))):
        with pytest.raises(UserError, match="would lie outside"):
            unpacked([archive])
    assert outside(tmp_path, own_store) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes):
    archive = tar_of(tmp_path / "x.tgz", entry_of("a", kind, "b"), entry_of("a/evil"))
    with pytest.raises(UserError, match="neither a file nor a folder"):
        unpacked([archive])


def test_a_link_in_a_zip_file_is_refused(tmp_path: Path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        unpacked([path])


def test_permissions_are_not_taken_over(tmp_path: Path):
    entry = entry_of("tool")
    entry.mode = 0o6777
    (found,) = unpacked([tar_of(tmp_path / "x.tgz", entry)]).iterdir()
    assert not found.stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_bombs_are_refused_before_they_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(archives, "MOST_UNPACKED", 1_000_000)
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a", bytes(8_000_000))
    else:
        tar_of(path, entry_of("a"), content=bytes(8_000_000))
    with pytest.raises(UserError, match=r"(?s)claims to be .* `archives`"):
        unpacked([path])


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "MOST_ENTRIES", 3)
    with pytest.raises(UserError, match="more than 3 entries"):
        unpacked([tar_of(tmp_path / "x.tgz", *(entry_of(str(i)) for i in range(4)))])


def test_an_endless_name_is_refused(tmp_path: Path):
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as file:
        file.addfile(entry_of("a" * 3_000_000))
    with pytest.raises(UserError, match="name or notes of"):
        unpacked([path])


def test_a_name_that_no_disk_takes_is_a_fault_of_the_archive(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpacked([tar_of(tmp_path / "x.tgz", entry_of("a" * 400))])


# -- pictures ----------------------------------------------------------------------------------------------------------


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file that only claims its size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = b"".join(chunk(*one) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_pictures_that_claim_to_be_huge_are_refused(tmp_path: Path):
    for width, height in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1)):
        for read in (decode_picture, picture_size):
            with pytest.raises(UnreadablePicture):
                read(png(width, height), tmp_path)


def test_text_that_swells_is_refused(tmp_path: Path):
    swollen = b"k\0\0" + zlib.compress(bytes(80_000_000))
    profile = b"k\0\0" + zlib.compress(bytes(80_000_000))
    for kind, content in ((b"zTXt", swollen), (b"iCCP", profile)):
        with pytest.raises(UnreadablePicture):
            decode_picture(png(8, 8, (kind, content)), tmp_path)


def test_of_a_long_animation_only_the_first_frame_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = io.BytesIO()
    frames = [Image.new("P", (64, 64), i % 250) for i in range(300)]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    seen: list[int] = []
    seek = Image.Image.seek
    monkeypatch.setattr(Image.Image, "seek", lambda image, frame: (seen.append(frame), seek(image, frame))[1])
    assert decode_picture(content.getvalue(), tmp_path).size == (64, 64)
    assert max(seen, default=0) == 0


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0", b"%PDF-1.7", b""])
def test_formats_that_are_programs_are_refused(tmp_path: Path, content: bytes):
    with pytest.raises(UnreadablePicture):
        decode_picture(content, tmp_path)


def test_damage_is_never_more_than_an_unreadable_picture(tmp_path: Path):
    rng, image, files = random.Random(5), Image.effect_noise((24, 18), 50).convert("RGB"), []
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "hello"
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        content = io.BytesIO()
        image.save(content, kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}))
        files.append(content.getvalue())
    refused = 0
    for _ in range(2500):
        spoiled = bytearray(rng.choice(files))
        for _ in range(rng.choice([1, 2, 8])):
            spoiled[rng.randrange(min(len(spoiled), 400))] = rng.randrange(256)
        try:
            decode_picture(bytes(spoiled), tmp_path)
        except UnreadablePicture:
            refused += 1
    assert refused > 100


def test_what_pillow_raises_beside_its_own_errors_is_an_unreadable_picture(tmp_path, monkeypatch):
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    for error in (struct.error("x"), ZeroDivisionError(), KeyError("x"), IndexError(), OverflowError(), TypeError()):

        def fail(_: Image.Image, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(pictures.ImageOps, "exif_transpose", fail)
        with pytest.raises(UnreadablePicture):
            decode_picture(content.getvalue(), tmp_path)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "http://x/y.png", "file:///x", ""]
)
def test_a_row_names_no_file_outside_its_folder(tmp_path: Path, name: str):
    (tmp_path / "data").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    with pytest.raises(UnreadablePicture):
        decode_picture(name, tmp_path / "data")


def test_a_link_out_of_the_folder_and_a_file_that_is_no_file_are_refused(tmp_path: Path):
    (tmp_path / "data").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(tmp_path / "data" / "pipe.png")
    for name in ("link.png", "pipe.png"):
        with pytest.raises(UnreadablePicture):
            decode_picture(name, tmp_path / "data")


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path: Path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(pictures.MAX_BYTES + 1)
    with pytest.raises(UnreadablePicture, match="is the most"):
        decode_picture("a.png", tmp_path)


# -- rows and tables ---------------------------------------------------------------------------------------------------


def test_a_gigantic_line_is_a_fault_of_that_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_files, "LONGEST_LINE", 1000)
    row = json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}).encode()
    (tmp_path / "a.jsonl").write_bytes(row + b"\n" + b"x" * 50_000 + b"\n" + row + b"\n")
    pairs, counts = read_user_pairs(tmp_path / "a.jsonl", skip_broken=True)
    assert (len(pairs), counts["rows"], counts["broken/not_json"]) == (2, 3, 1)
    assert row_files.count_rows(tmp_path / "a.jsonl") == 3


def test_a_list_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_files, "LARGEST_LIST", 10)
    (tmp_path / "a.json").write_text(json.dumps([{"a": 1}] * 10))
    with pytest.raises(UserError, match="JSON lines"):
        list(row_files.rows_of(tmp_path / "a.json", kinds=(".json",)))


def test_deep_nesting_is_a_fault_of_that_line(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    with pytest.raises(UserError, match="is no JSON"):
        read_user_pairs(tmp_path / "a.jsonl")


def test_one_large_text_that_every_row_names_is_read_a_row_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"prompt": pyarrow.array(["x" * 100_000] * 200).dictionary_encode(), "chosen": ["a"] * 200})
    parquet.write_table(table, tmp_path / "a.parquet")
    monkeypatch.setattr(row_files, "_BYTES_AT_ONCE", 250_000)
    with parquet.ParquetFile(tmp_path / "a.parquet") as file:
        assert row_files._batch_size(file) <= 2
    assert sum(1 for _ in row_files.rows_of(tmp_path / "a.parquet")) == 200


def card(files: str) -> str:
    return f"---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n"


@pytest.mark.parametrize("how", ["absolute", "above", "link"])
def test_a_datasets_card_and_links_lead_nowhere_else(tmp_path: Path, how: str):
    secret, folder = tmp_path / "secret.jsonl", tmp_path / "data"
    secret.write_text('{"question": "SECRET"}\n')
    folder.mkdir()
    if how == "link":
        (folder / "train.jsonl").symlink_to(secret)
    else:
        (folder / "README.md").write_text(card(str(secret) if how == "absolute" else "../secret.jsonl"))
    with pytest.raises(UserError, match="is not in the folder of the dataset"):
        list(iterate(TableRef(path=str(folder))))


def test_a_link_that_the_user_names_is_meant(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "real.jsonl").write_text('{"question": "a"}\n')
    (tmp_path / "data" / "mine.jsonl").symlink_to(tmp_path / "real.jsonl")
    assert list(iterate(TableRef(path=str(tmp_path / "data" / "mine.jsonl")))) == [{"question": "a"}]


def test_a_packed_table_is_not_unpacked_behind_anybodys_back(tmp_path: Path):
    (tmp_path / "train.jsonl").write_bytes(gzip.compress(b'{"question": "a"}\n'))
    for path in (tmp_path, tmp_path / "train.jsonl"):
        with pytest.raises(UserError, match="packed file"):
            list(iterate(TableRef(path=str(path))))
