"""Families of vision-language models, one file each; :func:`family_of` finds a model's."""

from __future__ import annotations

from typing import Any

from specs_lab.models.families.base import Family, UnknownFamily
from specs_lab.models.families.gemma3 import Gemma3
from specs_lab.models.families.idefics3 import Idefics3
from specs_lab.models.families.internvl import InternVL
from specs_lab.models.families.llava_onevision import LlavaOnevision
from specs_lab.models.families.qwen2_5_vl import Qwen2_5VL
from specs_lab.models.families.qwen2_vl import Qwen2VL
from specs_lab.models.families.qwen3_vl import Qwen3VL
from specs_lab.models.families.smolvlm import SmolVLM

FAMILIES: tuple[type[Family], ...] = (
    Qwen2VL,
    Qwen2_5VL,
    Qwen3VL,
    Idefics3,
    SmolVLM,
    InternVL,
    Gemma3,
    LlavaOnevision,
)


def family_of(core: Any) -> Family:
    """The family of a Hugging Face model; :class:`UnknownFamily` if it has no file here."""
    for family in FAMILIES:
        if core.config.model_type in family.model_types:
            return family(core)
    return UnknownFamily(core)
