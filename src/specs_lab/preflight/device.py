"""How much memory there is where a study runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from specs_lab.training.options.trainer import TrainerOptions

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory that models are held in.

    Attributes:
        kind: ``cpu`` or ``cuda``.
        name: What it is called.
        total: Bytes in all, as far as this process may use them.
        free: Bytes that nobody uses now.
    """

    kind: str
    name: str
    total: int
    free: int


def memory_of(trainer: TrainerOptions) -> Memory | None:
    """The memory of the device that the trainer's options choose; None if nobody says how much there is."""
    if trainer.accelerator != "cpu":
        import torch  # who runs on the CPU need not wait for it

        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            return Memory(kind="cuda", name=torch.cuda.get_device_name(), total=total, free=free)
    return main_memory()


def main_memory() -> Memory | None:
    """The machine's memory, or this container's share of it; None where the system does not say (no Linux)."""
    if not _MEMINFO.is_file():
        return None
    lines = (line.partition(":") for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    kib = {name: int(rest.split()[0]) for name, _, rest in lines}
    total, free = kib["MemTotal"] << 10, kib["MemAvailable"] << 10
    limit = _number(_CGROUP / "memory.max")
    if limit is not None and limit < total:
        # What a container has read from files counts as used there, though it is given up when needed.
        files = _field(_CGROUP / "memory.stat", "inactive_file") or 0
        used = (_number(_CGROUP / "memory.current") or 0) - files
        total, free = limit, min(free, max(0, limit - used))
    return Memory(kind="cpu", name="main memory", total=total, free=free)


def _number(path: Path) -> int | None:
    text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else None


def _field(path: Path, name: str) -> int | None:
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), None)
