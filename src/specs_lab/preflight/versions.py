"""Whether what is installed is what the package asks for, and what its options need is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.version import Version

from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.preflight.findings import Finding
from specs_lab.preflight.needs import optimiser_of
from specs_lab.stages.context import Study

_PACKAGE = "specs_lab"


def installed(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def _requirements() -> tuple[Requirement, ...]:
    """What the package needs here, extras left out."""
    named = [Requirement(line) for line in metadata.requires(_PACKAGE) or ()]
    return tuple(one for one in named if one.marker is None or one.marker.evaluate({"extra": ""}))


def check_versions(study: Study) -> list[Finding]:
    """Packages, and what a choice needs beside them."""
    return [*_packages(), *_for_choices(study)]


def _packages() -> Iterator[Finding]:
    bad = 0
    for wanted in _requirements():
        found = installed(wanted.name)
        if found is not None and wanted.specifier.contains(found, prereleases=True):
            continue
        bad += 1
        said = f"{wanted.name}{wanted.specifier}"
        if found is None:
            what, level = f"{wanted.name} is not installed; {said} is needed", "fault"
        else:
            what = f"{wanted.name} {found} is installed; {said} is needed"
            level = "fault" if _too_old(wanted, found) else "warning"  # a later release may do
        yield Finding(
            check="versions", level=level, what=what, fix=f"pip install '{said}'", figures={"installed": found}
        )
    if not bad:
        versions = {name: installed(name) for name in ("torch", "transformers", "peft", "datasets")}
        what = "all required packages are there: " + ", ".join(
            f"{name} {version}" for name, version in versions.items()
        )
        yield Finding(check="versions", level="ok", what=what, figures=versions)


def _too_old(wanted: Requirement, found: str) -> bool:
    least = [Version(one.version) for one in wanted.specifier if one.operator in (">=", ">", "~=", "==")]
    return any(Version(found) < version for version in least)


def _for_choices(study: Study) -> Iterator[Finding]:
    nodes = study.nodes()
    backends = {getattr(nodes.get(name), "image_backend", "pil") for name in ("model", "teacher_model")}
    if "torchvision" in backends and find_spec("torchvision") is None:
        yield Finding(
            check="versions",
            level="fault",
            what="model.image_backend is torchvision, which is not installed",
            fix="pip install 'specs_lab[gpu]', or set model.image_backend=pil",
        )
    adapter = nodes.get("adapter")
    eight_bit = [name for name in ("rl", "zero", "coldstart") if optimiser_of(nodes.get(name)) == "adamw_8bit"]
    needed_by = ["adapter=qlora"] * isinstance(adapter, QLoraAdapter) + [
        f"the 8-bit optimizer of {n}" for n in eight_bit
    ]
    if needed_by and find_spec("bitsandbytes") is None:
        what = f"{' and '.join(needed_by)} need bitsandbytes, which is not installed"
        yield Finding(check="versions", level="fault", what=what, fix="pip install bitsandbytes")


def check_hardware(study: Study) -> Finding:
    """What things run on; imports torch."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    figures = {"cuda": torch.version.cuda, "gpu": name, "python": sys.version.split()[0]}
    if not name:
        return Finding(
            check="hardware", level="ok", what=f"no GPU; {study.trainer.threads} CPU threads", figures=figures
        )
    if study.trainer.accelerator == "cpu":
        what = f"{name} is there and not used"
        return Finding(check="hardware", level="note", what=what, fix="choose trainer=gpu", figures=figures)
    if torch.cuda.is_bf16_supported() and getattr(study.model, "dtype", "") == "float32":
        what = f"{name} computes bfloat16 far faster than float32, which model.dtype asks for"
        return Finding(check="hardware", level="note", what=what, fix="set model.dtype=bfloat16", figures=figures)
    return Finding(check="hardware", level="ok", what=f"{name}, CUDA {torch.version.cuda}", figures=figures)
