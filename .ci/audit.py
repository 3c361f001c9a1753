"""Audits what is installed with the package: a newcomer, a licence that is not open source, a known vulnerability.

    .venv/bin/python .ci/audit.py            # checks; exit code 1 if something is found
    .venv/bin/python .ci/audit.py --renew    # writes the list anew, to be read before it is committed

Checked are all distributions that the package's requirements bring, direct and transitive, against
``audit_allowed.json`` beside this file. Vulnerabilities are looked for by `pip-audit`, where it is installed and its
service is shown to know one that is public; where not, that is said, never passed over.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "specs_lab"
EXTRAS = ("", "dev")
ALLOWED = Path(__file__).with_name("audit_allowed.json")
PROBE = "https://pypi.org/pypi/pillow/9.0.0/json"
"""A release with public vulnerabilities: a service, or a mirror of it, that names none for it knows none at all."""
_TIMEOUT_S = 5.0

_CLASSES = {
    "permissive": r"\b(mit|bsd|0bsd|apache|isc|psf|python software foundation|zlib|unlicense|hpnd|cnri)\b",
    "weak copyleft": r"\b(mpl|mozilla public|lgpl|lesser general public|epl|eclipse public)\b",
    "strong copyleft": r"(?<!l)\b(gpl|agpl|general public license)\b(?!.*exception)",
    "proprietary": r"\b(proprietary|licenseref-nvidia|nvidia|other/proprietary|commercial|all rights reserved)\b",
}
_REFUSED = {"proprietary", "unknown", "strong copyleft"}


def licence_of(found: Distribution) -> str:
    """The licence that a distribution states: by SPDX expression, else by classifiers, else by its free text."""
    about = found.metadata
    classifiers = [one for one in about.get_all("Classifier") or [] if one.startswith("License ::")]
    named = [one.rpartition("::")[2].strip() for one in classifiers if one != "License :: OSI Approved"]
    text = (about.get("License") or "").strip().splitlines()
    return about.get("License-Expression") or " AND ".join(named) or (text[0] if text else "")


def class_of(licence: str) -> str:
    """The class of a licence; of several the strictest, and of alternatives the most lenient."""
    text = licence.lower()
    if " or " in text and " and " not in text:
        found = [class_of(one) for one in text.split(" or ")]
        return min(found, key=[*_CLASSES, "unknown"].index)
    fitting = [name for name, pattern in _CLASSES.items() if re.search(pattern, text)]
    return fitting[-1] if fitting else "unknown"


def closure(root: str, extras: Iterable[str], find: Callable[[str], Distribution] = distribution) -> dict[str, str]:
    """{name: licence} of all that a distribution requires here, directly or not; itself left out."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(canonicalize_name(root), extra) for extra in extras]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            current = find(name)
        except PackageNotFoundError:
            continue  # `pip check` tells of what is missing
        if name != canonicalize_name(root):
            found[name] = licence_of(current)
        for text in current.requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(needed.name), one) for one in ["", *needed.extras]]
    return found


def differences(found: Mapping[str, str], allowed: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong with what is installed, one line each."""
    faults = []
    for name, licence in sorted(found.items()):
        known, kind = allowed.get(name), class_of(licence)
        if known is None:
            faults.append(f"{name} ({licence or 'no licence stated'}) is new: see what brought it, then --renew")
        elif known["class"] != kind:
            faults.append(f"{name} was {known['class']} and is {kind} now ({licence})")
        elif kind in _REFUSED and not known.get("because"):
            faults.append(f"{name} is {kind} ({licence or 'no licence stated'}), and nobody wrote down why it may stay")
    return faults


def service_answers(url: str = PROBE) -> str | None:
    """Why PyPI cannot be asked for vulnerabilities; None if it can."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            known = json.loads(answer.read(10_000_000)).get("vulnerabilities")
    except (OSError, ValueError, urllib.error.URLError) as error:
        return f"it does not answer ({error})"
    return None if known else "it answers, but knows of no vulnerability where there are some"


def vulnerabilities() -> tuple[str, bool]:
    """What `pip-audit` says, or why it was not asked; and whether that is a fault."""
    why = "it is not installed (pip install pip-audit)" if find_spec("pip_audit") is None else service_answers()
    if why is not None:
        return f"vulnerabilities: NOT LOOKED FOR, skipped: pip-audit's service is not reachable: {why}", False
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner=off", "--timeout=5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return f"vulnerabilities: {(done.stdout + done.stderr).strip()}", done.returncode != 0


def renew(found: Mapping[str, str], allowed: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The list as it is to be; reasons that were written down stay."""
    lines = {}
    for name, licence in sorted(found.items()):
        because = allowed.get(name, {}).get("because")
        lines[name] = {"licence": licence[:80], "class": class_of(licence)} | ({"because": because} if because else {})
    return {**{k: dict(v) for k, v in sorted(allowed.items()) if k not in lines}, **lines}


def main() -> int:
    """Audits; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="write the list of what is allowed anew")
    arguments = parser.parse_args()
    allowed = json.loads(ALLOWED.read_text(encoding="utf-8")) if ALLOWED.is_file() else {}
    found = closure(ROOT, EXTRAS)
    if arguments.renew:
        ALLOWED.write_text(json.dumps(renew(found, allowed), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"wrote {ALLOWED}")
        return 0
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    faults = differences(found, allowed)
    if done.returncode:
        faults += [f"pip check: {line}" for line in done.stdout.splitlines()]
    said, vulnerable = vulnerabilities()
    print(f"{len(found)} distributions: {len(faults)} faults\n{said}")
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults or vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
