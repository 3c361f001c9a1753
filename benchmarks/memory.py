"""Peak memory of this process: resident on the CPU, allocated on CUDA.

``python -m benchmarks.memory`` is another thing: the preflight's estimate of a training run against what it takes, for
every method, full and with LoRA; on a GPU ``--device cuda --shape qwen2_5_vl_3b``.
"""

from __future__ import annotations

import contextlib
import re
import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")
_MEGA = 1 << 20


def _status_mb(field: str) -> float | None:
    found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE) if _STATUS.exists() else None
    return int(found.group(1)) * 1024 / _MEGA if found else None


class PeakMemory:
    """From its construction on: how much there was at that moment, and the most since.

    Args:
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
            self.base_mb = torch.cuda.memory_allocated() / _MEGA
            return
        # Linux: the peak restarts from what is resident now. Where that is not allowed, it includes the start.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.base_mb = _status_mb("VmRSS") or 0.0

    @property
    def peak_mb(self) -> float:
        """The most memory so far, in MiB."""
        if self.device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated() / _MEGA
        return _status_mb("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":  # the sides of a comparison import this module, and no model with it
    import sys

    from benchmarks.memory_table import main

    sys.exit(main())
