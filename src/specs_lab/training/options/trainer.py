"""Where and how fast things run; nothing here changes a result beyond floating-point noise."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import Checks, option

PREFLIGHTS = ("strict", "warn", "off")
STRATEGIES = ("single", "ddp", "fsdp2")
ON_NAN = ("stop", "skip")


def _gpu_is_there() -> bool:
    import torch  # only who asks for a GPU waits for it

    return torch.cuda.is_available()


@option("trainer", "trainer")
@dataclass(kw_only=True)
class TrainerOptions:
    """Hardware and batching.

    Attributes:
        accelerator: Lightning's accelerator: ``cpu``, ``gpu`` or ``auto``.
        strategy: How processes train together: ``single`` (there is one), ``ddp`` (each holds the model) or ``fsdp2``
            (each holds a share of it; Lightning's ``ModelParallelStrategy``).
        devices: Processes on this machine, each with a device of its own.
        nodes: Machines; more than one are started by SLURM or torchrun, which say who is who.
        timeout_s: How long a process waits for the others before it gives up and names who is missing.
        threads: CPU threads for one process.
        micro_batch_tokens: Most tokens in one forward pass of training; shared prompts count once.
        sample_batch_size: Responses decoded side by side.
        share_prompts: Encode a prompt once for all its completions, where the model's family allows it.
        gradient_checkpointing: Keep one activation a layer and make the others again: less memory, a third more work.
        feature_cache_mb: Most memory, in MiB, for picture features of a frozen vision tower.
        checkpoint_every_s: Least time between two checkpoints of a training, in seconds; 0: after every step.
        checkpoints_kept: How many of them stay, the latest ones.
        on_nan: What happens at a loss or gradient that is no finite number: ``stop``, or ``skip`` that update. The
            samples behind it are written down either way.
        nan_skips: Most updates in a row that may be skipped.
        oom_halvings: How often ``micro_batch_tokens`` may be halved when memory runs out.
        preflight: What happens before a run that has stages to make: ``strict`` stops it where disk, memory or versions
            are certain not to do, and warns where they may not; ``warn`` only tells of all that; ``off`` does not look.
            `specs-lab doctor` looks closer.
    """

    accelerator: str = "cpu"
    strategy: str = "single"
    devices: int = 1
    nodes: int = 1
    timeout_s: float = 1800.0
    threads: int = 1
    micro_batch_tokens: int = 2048
    sample_batch_size: int = 128
    share_prompts: bool = True
    gradient_checkpointing: bool = False
    feature_cache_mb: int = 256
    checkpoint_every_s: float = 60.0
    checkpoints_kept: int = 2
    on_nan: str = "stop"
    nan_skips: int = 3
    oom_halvings: int = 4
    preflight: str = "strict"

    def __post_init__(self) -> None:
        checks = Checks().one_of("accelerator", self.accelerator, ("cpu", "gpu", "auto"))
        checks.that(
            self.accelerator != "gpu" or _gpu_is_there(), "accelerator", "no GPU is available", "choose trainer=cpu"
        )
        checks.one_of("strategy", self.strategy, STRATEGIES)
        for name in ("devices", "nodes", "threads", "micro_batch_tokens", "sample_batch_size", "checkpoints_kept"):
            checks.at_least(name, getattr(self, name), 1)
        for name in ("feature_cache_mb", "nan_skips", "oom_halvings"):
            checks.at_least(name, getattr(self, name), 0)
        alone = self.devices * self.nodes == 1
        fix = "choose strategy=ddp or fsdp2, or devices=1 and nodes=1"
        checks.that(alone or self.strategy != "single", "strategy", "a single process uses one device", fix)
        checks.that(self.timeout_s > 0, "timeout_s", f"{self.timeout_s} is no time limit", "give seconds, > 0")
        checks.that(self.checkpoint_every_s >= 0, "checkpoint_every_s", "is negative", "give seconds, >= 0")
        checks.one_of("on_nan", self.on_nan, ON_NAN).one_of("preflight", self.preflight, PREFLIGHTS).done()
