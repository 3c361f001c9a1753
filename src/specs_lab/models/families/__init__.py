"""Families of vision-language models, one file each; :func:`family_of` finds a model's."""

from __future__ import annotations

from typing import Any

from specs_lab.models.families.base import Family, UnknownFamily
from specs_lab.models.families.idefics import Idefics
from specs_lab.models.families.qwen_vl import QwenVL

FAMILIES: tuple[type[Family], ...] = (QwenVL, Idefics)


def family_of(core: Any) -> Family:
    """The family of a Hugging Face model; :class:`UnknownFamily` if it has no file here."""
    for family in FAMILIES:
        if core.config.model_type in family.model_types:
            return family(core)
    return UnknownFamily(core)
