"""What jobs will take of a machine, told before they run."""

from __future__ import annotations

from collections.abc import Sequence

from specs_lab.cli.room import Needs
from specs_lab.preflight.device import Memory
from specs_lab.preflight.needs import Shapes, needs
from specs_lab.stages.context import Study
from specs_lab.stages.graph import PlannedStage

PROCESS_BYTES = 700 << 20
"""Of a process beside its model: Python, PyTorch, transformers and Lightning, loaded and at work."""


def needs_of(study: Study, stages: Sequence[PlannedStage]) -> Needs:
    """What a job takes of a machine.

    Args:
        study: What it runs.
        stages: Those that are not in the store yet; without any, a job takes next to nothing.
    """
    trainer = study.trainer
    on_gpu = trainer.accelerator == "gpu" or (trainer.accelerator == "auto" and _gpu_is_there())
    processes = trainer.devices if stages else 1
    # What is read of it is the kind of device; how much there is of it is the launcher's business.
    device = Memory(kind="cuda" if on_gpu else "cpu", name="", total=0, free=0)
    estimates = [need.memory for need in needs(study, list(stages), device, Shapes()) if need.memory is not None]
    # On a GPU, main memory holds what is loaded until it is there.
    of_model = max([one.certain if on_gpu else one.peak for one in estimates], default=0)
    return Needs(
        memory=processes * (PROCESS_BYTES + of_model),
        on_gpu=on_gpu,
        processes=trainer.devices,
        nodes=trainer.nodes,
        threads=trainer.threads,
    )


def _gpu_is_there() -> bool:
    import torch  # only who leaves the choice open waits for it

    return torch.cuda.is_available()
