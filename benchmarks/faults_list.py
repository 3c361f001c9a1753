"""The faults of the matrix: how each is made, and which stages it is made for."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.faults_scene import Scene, checkpoints, fill_up, journals
from benchmarks.soak_kill import Point
from benchmarks.soak_launch import Job

TRAINED = ("rl", "sft", "hybrid_lora", "pretrain")
SAMPLED = ("construct", "select", "explore", "evaluate")
UPDATED = ("rl", "sft", "hybrid_lora")
LONG = (*TRAINED, *SAMPLED)
ALL = ("base", *LONG)
_FEW = "trainer.checkpoint_every_s=3600"
_YEAR = 365 * 86400
_HOST = re.compile(r'("(?:host|machine|boot)": ?")([^"]*)(")')


@dataclass(frozen=True)
class Fault:
    """One row of the matrix.

    Attributes:
        name: Its name.
        stages: Names of the stages that it is made for.
        make: Makes it; leaves the store repaired.
    """

    name: str
    stages: tuple[str, ...]
    make: Callable[[Scene], None]


def _signalled(number: int, scene: Scene) -> None:
    scene.fill()
    options = (_FEW,) if number == signal.SIGTERM and scene.reference.case.name in UPDATED else ()
    scene.run(when=scene.midway, then=lambda job: os.kill(job.pid, number), options=options)


def _killed(scene: Scene) -> None:
    scene.fill()
    if scene.reference.case.kind == "base":
        scene.run(point=Point("call", scene.reference.measured.calls // 2))
    else:
        scene.run(when=scene.midway, then=Job.kill)


def _disk_full(scene: Scene) -> None:
    scene.mount()
    scene.fill()
    if scene.reference.case.kind == "base":
        filler = fill_up(scene.store)
        scene.run()
    else:
        scene.run(when=scene.midway, then=lambda _: fill_up(scene.store) and None)
        filler = scene.store / "filler"
    filler.unlink(missing_ok=True)
    scene.repair = "room was made"


def _read_only(scene: Scene) -> None:
    scene.mount()
    scene.fill()
    scene.remount("ro")
    scene.run()
    scene.remount("rw")
    scene.repair = "made writable"


def _input(scene: Scene, name: str) -> Path:
    found = sorted(scene.store.glob(f"*/*/{name}"))
    return next(
        path for path in found if path.relative_to(scene.store).parts[0] not in ("tmp", scene.target.parent.name)
    )


def _input_lost(scene: Scene) -> None:
    _killed(scene)
    model = _input(scene, "model").parent
    for path in sorted(model.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    model.rmdir()
    scene.run()


def _input_damaged(name: str, scene: Scene) -> None:
    _killed(scene)
    scene.damage(_input(scene, name))
    scene.run()


def _manifest_damaged(scene: Scene) -> None:
    _killed(scene)
    path = _input(scene, "model").parent / "manifest.json"
    path.write_text(path.read_text()[:40])
    scene.run()


def _artifact_damaged(scene: Scene) -> None:
    """The stage's own artifact: what reads it has to notice; results are looked at whenever they are reported."""
    scene.fill()
    scene.run()
    scene.damage(next(path for path in sorted(scene.target.rglob("*")) if path.suffix in (".parquet", ".csv")))
    scene.run()


def _newest_damaged(scene: Scene) -> None:
    _killed(scene)
    scene.damage(checkpoints(scene.store)[-1] / "state.ckpt")
    scene.run()


def _all_damaged(scene: Scene) -> None:
    _killed(scene)
    for folder in checkpoints(scene.store):
        scene.damage(folder / "state.ckpt")
    scene.run()


def _journal_damaged(scene: Scene) -> None:
    _killed(scene)
    for path in journals(scene.store):
        scene.damage(path)
    scene.run()


def _nan_stop(scene: Scene) -> None:
    scene.fill()
    scene.run(more={"SOAK_NAN_AT": "3"})
    scene.repair = "its cause was taken away"


def _nan_skip(scene: Scene) -> None:
    scene.fill()
    scene.run(more={"SOAK_NAN_AT": "3"}, options=("trainer.on_nan=skip",))
    scene.differs = "an update is left out, as asked"


def _no_memory(scene: Scene) -> None:
    scene.fill()
    scene.run(more={"SOAK_ADDRESS_SPACE": "24"})
    scene.repair = "more memory"


def _clock(scene: Scene) -> None:
    scene.fill()
    scene.run(more={"SOAK_CLOCK": str(_YEAR)}, when=scene.midway, then=Job.kill)
    scene.run(more={"SOAK_CLOCK": str(-_YEAR)})


def _other_host(scene: Scene) -> None:
    """The lease of a process that cannot be asked: that of a killed one, made another machine's."""
    _killed(scene)
    for path in (scene.store / "locks").glob("*.lease"):
        path.write_text(_HOST.sub(lambda found: found[1] + "f" * len(found[2]) + found[3], path.read_text()))
    scene.run()


def _no_wandb(scene: Scene) -> None:
    """A server that hangs up before the first word."""
    scene.fill()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    told = {"WANDB_BASE_URL": url, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "", "WANDB_SILENT": ""}
    scene.run(more=told, options=("logger=wandb", "logger.mode=auto"))


FAULTS = (
    Fault("SIGKILL", ALL, _killed),
    Fault("SIGTERM", LONG, partial(_signalled, signal.SIGTERM)),
    Fault("SIGINT", LONG, partial(_signalled, signal.SIGINT)),
    Fault("disk full", ALL, _disk_full),
    Fault("store read-only", ALL, _read_only),
    Fault("input deleted", (*UPDATED, *SAMPLED), _input_lost),
    Fault("weights of the input damaged", (*UPDATED, *SAMPLED), partial(_input_damaged, "model/model.safetensors")),
    Fault("pairs damaged", ("sft", "hybrid_lora"), partial(_input_damaged, "pairs.parquet")),
    Fault("manifest of the input damaged", ("rl", "evaluate"), _manifest_damaged),
    Fault("results damaged", ("explore", "evaluate"), _artifact_damaged),
    Fault("newest checkpoint damaged", TRAINED, _newest_damaged),
    Fault("all checkpoints damaged", TRAINED, _all_damaged),
    Fault("journal damaged", SAMPLED, _journal_damaged),
    Fault("loss is NaN, stop", UPDATED, _nan_stop),
    Fault("loss is NaN, skip", UPDATED, _nan_skip),
    Fault("out of memory", ("rl", "sft", "construct"), _no_memory),
    Fault("clock jumps a year, and SIGKILL", LONG, _clock),
    Fault("lease of a dead process on another host", ("rl", "construct"), _other_host),
    Fault("W&B out of reach", ("rl", "evaluate"), _no_wandb),
)
