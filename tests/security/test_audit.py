"""The audit of what is installed finds newcomers, licences that changed, and never passes silently."""

import importlib.util
import json
import sys
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / ".ci" / "audit.py"
_SPEC = importlib.util.spec_from_file_location("audit", FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
audit = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(audit)


def package(licence: str = "MIT", requires: list[str] | None = None) -> Any:
    about = Message()
    about["License-Expression"] = licence
    return SimpleNamespace(metadata=about, requires=requires or [])


def test_requirements_are_followed_with_their_extras_and_markers():
    packages = {
        "root": package(requires=["A[fast]>=1", "never; python_version < '3'", 'tool; extra == "dev"']),
        "a": package(requires=["b", 'c_c; extra == "fast"', 'd; extra == "slow"']),
        "b": package(requires=["a"]),
        "c-c": package("BSD-3-Clause"),
        "tool": package(),
    }
    assert audit.closure("Root", [""], packages.__getitem__) == {"a": "MIT", "b": "MIT", "c-c": "BSD-3-Clause"}
    assert "tool" in audit.closure("root", ["", "dev"], packages.__getitem__)


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("MIT", "permissive"),
        ("Apache-2.0 OR BSD-2-Clause", "permissive"),
        ("MPL-2.0 AND MIT", "weak copyleft"),
        ("LGPL-2.1-or-later", "weak copyleft"),
        ("GPL-3.0-only OR MIT", "permissive"),
        ("GPL-3.0-only", "strong copyleft"),
        ("GNU Affero General Public License v3", "strong copyleft"),
        ("MIT AND GPL-3.0-only", "strong copyleft"),
        ("LicenseRef-NVIDIA-Proprietary", "proprietary"),
        ("", "unknown"),
        ("Free for friends", "unknown"),
    ],
)
def test_classes_of_licences_by_hand(licence: str, kind: str):
    assert audit.class_of(licence) == kind


def test_a_newcomer_a_change_and_what_is_not_open_are_found():
    allowed = {"old": {"class": "permissive"}, "changed": {"class": "permissive"}, "closed": {"class": "proprietary"}}
    found = {"old": "MIT", "changed": "GPL-3.0-only", "closed": "Proprietary", "new": "MIT"}
    faults = audit.differences(found, allowed)
    assert [fault.split()[0] for fault in faults] == ["changed", "closed", "new"]
    allowed["closed"]["because"] = "it is only a driver"
    assert len(audit.differences(found, allowed)) == 2
    assert audit.differences({"old": "MIT"}, allowed) == []


def test_renewing_keeps_reasons():
    renewed = audit.renew({"closed": "Proprietary"}, {"closed": {"class": "x", "because": "y"}, "gone": {"class": "z"}})
    assert renewed["closed"] == {"licence": "Proprietary", "class": "proprietary", "because": "y"}
    assert "gone" in renewed


@pytest.mark.parametrize(
    ("known", "why"), [(b'{"vulnerabilities": []}', "knows of no"), (b"no", "does not answer"), (b"{}", "knows of no")]
)
def test_a_service_that_knows_nothing_is_not_trusted(tmp_path: Path, known: bytes, why: str):
    (tmp_path / "answer").write_bytes(known)
    assert why in audit.service_answers((tmp_path / "answer").as_uri())
    (tmp_path / "answer").write_bytes(b'{"vulnerabilities": [{"id": "X"}]}')
    assert audit.service_answers((tmp_path / "answer").as_uri()) is None


def test_what_is_skipped_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audit, "find_spec", lambda _: object())
    monkeypatch.setattr(audit, "service_answers", lambda: "it is away")
    assert audit.vulnerabilities() == (
        "vulnerabilities: NOT LOOKED FOR, skipped: pip-audit's service is not reachable: it is away",
        False,
    )
    monkeypatch.setattr(audit, "service_answers", lambda: None)
    done = SimpleNamespace(stdout="pillow 9.0.0 PYSEC-1", stderr="", returncode=1)
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.vulnerabilities() == ("vulnerabilities: pillow 9.0.0 PYSEC-1", True)


def test_the_committed_list_has_no_licence_that_needs_a_reason_and_has_none():
    for name, line in json.loads(audit.ALLOWED.read_text(encoding="utf-8")).items():
        assert line["class"] not in audit._REFUSED or line.get("because"), name
