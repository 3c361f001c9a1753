"""Where and how fast things run; nothing here changes a result beyond floating-point noise."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import Checks, option

PREFLIGHTS = ("strict", "warn", "off")


def _gpu_is_there() -> bool:
    import torch  # only who asks for a GPU waits for it

    return torch.cuda.is_available()


@option("trainer", "trainer")
@dataclass(kw_only=True)
class TrainerOptions:
    """Hardware and batching.

    Attributes:
        accelerator: Lightning's accelerator: ``cpu``, ``gpu`` or ``auto``.
        threads: CPU threads for one job.
        micro_batch_tokens: Most tokens in one forward pass of training; shared prompts count once.
        sample_batch_size: Responses decoded side by side.
        share_prompts: Encode a prompt once for all its completions, where the model's family allows it.
        gradient_checkpointing: Keep one activation a layer and make the others again: less memory, a third more work.
        feature_cache_mb: Most memory, in MiB, for picture features of a frozen vision tower.
        preflight: What happens before a run that has stages to make: ``strict`` stops it where disk, memory or versions
            are certain not to do, and warns where they may not; ``warn`` only tells of all that; ``off`` does not look.
            `specs-lab doctor` looks closer.
    """

    accelerator: str = "cpu"
    threads: int = 1
    micro_batch_tokens: int = 2048
    sample_batch_size: int = 128
    share_prompts: bool = True
    gradient_checkpointing: bool = False
    feature_cache_mb: int = 256
    preflight: str = "strict"

    def __post_init__(self) -> None:
        Checks().one_of("accelerator", self.accelerator, ("cpu", "gpu", "auto")).at_least(
            "threads", self.threads, 1
        ).that(
            self.accelerator != "gpu" or _gpu_is_there(), "accelerator", "no GPU is available", "choose trainer=cpu"
        ).at_least("micro_batch_tokens", self.micro_batch_tokens, 1).at_least(
            "sample_batch_size", self.sample_batch_size, 1
        ).at_least("feature_cache_mb", self.feature_cache_mb, 0).one_of("preflight", self.preflight, PREFLIGHTS).done()
