"""DoRA (arXiv 2402.09353): as LoRA, but the length of each of W's rows learns apart from its direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specs_lab.core.options import option
from specs_lab.models.adapters.lora import LoraAdapter


@option("adapter", "dora")
@dataclass(kw_only=True)
class DoraAdapter(LoraAdapter):
    """DoRA on frozen weights; the options are LoRA's."""

    decomposes: ClassVar[bool] = True
