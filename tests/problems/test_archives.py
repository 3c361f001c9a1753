"""Archives of pictures are unpacked once, whole, and never outside their folder."""

import io
import random
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from specs_lab.core.errors import UserError
from specs_lab.problems.archives import unpacked


def write_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def write_tar(path: Path, entries: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


def test_the_content_of_several_archives_lies_together(tmp_path: Path):
    one = write_zip(tmp_path / "one.zip", {"images/a.png": b"a"})
    other = write_tar(tmp_path / "other.tar.gz", {"images/b.png": b"b"})
    folder = unpacked([one, other])
    assert sorted(path.read_bytes() for path in folder.rglob("*.png")) == [b"a", b"b"]


def test_an_archive_is_unpacked_once_until_it_is_replaced(tmp_path: Path):
    path = write_zip(tmp_path / "one.zip", {"a.png": b"a"})
    first = unpacked([path])
    (first / "mark").write_text("still here")
    assert (unpacked([path]) / "mark").is_file()
    write_zip(path, {"a.png": b"another"})
    assert (unpacked([path]) / "a.png").read_bytes() == b"another"


def test_nothing_is_written_outside(tmp_path: Path, own_store: Path):
    for bad in (
        write_zip(tmp_path / "bad.zip", {"../../evil.png": b"x", "/evil.png": b"x"}),
        write_tar(tmp_path / "bad.tar.gz", {"../../evil.png": b"x"}),
    ):
        with pytest.raises(UserError, match="would lie outside"):
            unpacked([bad])
    assert not list(own_store.rglob("evil.png"))
    assert not list(tmp_path.glob("evil.png"))
    assert not list((own_store / "pictures").glob(".unpacking-*"))


@pytest.mark.parametrize(("content", "what"), [(b"nothing", "neither a zip nor a tar"), (None, "no such archive")])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes | None, what: str):
    path = tmp_path / "images.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=what):
        unpacked([path])


def test_a_damaged_archive_leaves_nothing_behind(tmp_path: Path, own_store: Path):
    path = write_zip(tmp_path / "one.zip", {"a.png": b"a" * 400})
    content = bytearray(path.read_bytes())
    content[60:80] = b"x" * 20
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpacked([path])
    assert [entry for entry in (own_store / "pictures").iterdir() if entry.is_dir()] == []


def spoiled(path: Path, start: int) -> Path:
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(byte ^ 0xFF for byte in content[start : start + 40])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, "tar", "password"])
def test_a_spoiled_archive_is_a_fault_of_the_archive(tmp_path: Path, own_store: Path, packing: int | str):
    path = tmp_path / "images.zip"
    if packing == "tar":
        spoiled(write_tar(path, {"a.png": random.Random(0).randbytes(5000)}), 1000)
    elif packing == "password":
        content = bytearray(write_zip(path, {"a.png": b"a"}).read_bytes())
        content[6] |= 1
        content[content.rfind(b"PK\1\2") + 8] |= 1
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", packing) as file:
            file.writestr("a.png", b"abc" * 5000)
        spoiled(path, 45)
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpacked([path])
    assert not list((own_store / "pictures").iterdir())


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_what_does_not_fit_on_the_disk_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any):
    path = write(tmp_path / "bomb", {"a.png": bytes(10_000_000)})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=9_000_000))
    with pytest.raises(UserError, match="GB are free"):
        unpacked([path])
