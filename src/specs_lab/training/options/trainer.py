"""Where and how fast things run; nothing here changes a result beyond floating-point noise."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import Checks, option


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
        micro_batch_size: Rows in one forward pass.
        sample_batch_size: Responses decoded side by side.
    """

    accelerator: str = "cpu"
    threads: int = 1
    micro_batch_size: int = 16
    sample_batch_size: int = 128

    def __post_init__(self) -> None:
        Checks().one_of("accelerator", self.accelerator, ("cpu", "gpu", "auto")).at_least(
            "threads", self.threads, 1
        ).that(
            self.accelerator != "gpu" or _gpu_is_there(), "accelerator", "no GPU is available", "choose trainer=cpu"
        ).at_least("micro_batch_size", self.micro_batch_size, 1).at_least(
            "sample_batch_size", self.sample_batch_size, 1
        ).done()
