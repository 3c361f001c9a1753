"""Whether prompts and responses fit: into the model's positions, and into a micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from specs_lab.preflight.findings import Finding
from specs_lab.preflight.needs import Prompts, config_folder
from specs_lab.preflight.shapes import ModelShape
from specs_lab.preflight.uses import Use
from specs_lab.problems.tasks import Task
from specs_lab.stages.context import Study

SAMPLE = 32
"""Tasks of each use whose prompts are tokenised."""


class Encoder:
    """Tokenises prompts as the model that an option chooses does; its weights are neither read nor downloaded."""

    def __init__(self, model: Any) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForImageTextToText

        from specs_lab.models.families import family_of
        from specs_lab.models.processing import load_processor

        folder = config_folder(model)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            core = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
        self._family = family_of(core)
        self._processor = load_processor(folder, model.setup())

    def longest(self, tasks: Sequence[Task]) -> Prompts:
        """How long the longest prompt of some tasks is.

        Raises:
            ValueError: If the pictures of one do not fit its text.
        """
        from specs_lab.models.encoding import encode_prompts

        texts, images, keys = [t.text for t in tasks], [t.images for t in tasks], [t.problem.id for t in tasks]
        made = encode_prompts(self._processor, self._family, texts, images, keys)
        return Prompts(
            tokens=max(len(prompt.token_ids) for prompt in made),
            patches=max(_patches(prompt.vision) for prompt in made),
            counted=True,
        )


def _patches(vision: Mapping[str, Any]) -> int:
    """Patches of a prompt's pictures, where the model's family counts them in a grid."""
    grid = vision.get("image_grid_thw")
    return 0 if grid is None else int(grid.prod(-1).sum())


def check_lengths(
    study: Study, found: Mapping[str, tuple[Use, Prompts]], shape: ModelShape | None
) -> Iterator[Finding]:
    """Compares what was counted with what there is room for.

    Args:
        study: The study.
        found: The longest prompt of each use.
        shape: The model's shape, if it is known.
    """
    limit = study.trainer.micro_batch_tokens
    for name, (use, prompts) in found.items():
        row = prompts.tokens + use.new_tokens
        check, figures = f"prompts: {name}", {"prompt_tokens": prompts.tokens, "new_tokens": use.new_tokens}
        what = f"the longest of a sample has {prompts.tokens} tokens; with its response {row}"
        positions = None if shape is None else shape.positions
        if positions is not None and row > positions:
            what = f"{what}, and the model has {positions} positions"
            fix = "lower max_new_tokens or model.max_pixels, or leave long questions out"
            level = "fault" if prompts.tokens >= positions else "warning"
            yield Finding(check=check, level=level, what=what, fix=fix, figures=figures)
        elif use.suite is None and row > limit:
            what = f"{what}, and a micro-batch {limit}: such rows are passes of their own, larger than was asked for"
            fix = f"set trainer.micro_batch_tokens to at least {row}"
            yield Finding(check=check, level="warning", what=what, fix=fix, figures=figures)
        else:
            yield Finding(check=check, level="ok", what=what, figures=figures)
