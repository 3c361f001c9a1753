"""Accelerators, by what their vendors' data sheets say of them; nothing here was measured."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.errors import Fault, UserError, suggest

_TERA, _GIGA = 1e12, 1e9


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A kind of device, and how several are joined.

    Attributes:
        name: Its name on the command line.
        flops: Peak operations a second of dense matrix products, in the type that is computed in.
        memory: Bytes of its memory.
        bandwidth: Bytes a second between its memory and its cores.
        link: Bytes a second, in one direction, to the others of its machine.
        network: Bytes a second, in one direction, to other machines; a device's share of them.
        per_node: Devices of a machine.
        kind: ``cuda`` or ``cpu``.
        source: Where the figures come from.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    link: float
    network: float
    per_node: int = 8
    kind: str = "cuda"
    source: str


HARDWARE: dict[str, Hardware] = {
    one.name: one
    for one in (
        Hardware(
            name="a100",
            flops=312 * _TERA,
            memory=80 * _GIGA,
            bandwidth=2039 * _GIGA,
            link=300 * _GIGA,
            network=25 * _GIGA,
            source="NVIDIA A100 data sheet (80 GB SXM; bf16 dense; NVLink 600 GB/s both ways), HDR InfiniBand 200 Gb/s",
        ),
        Hardware(
            name="h100",
            flops=989 * _TERA,
            memory=80 * _GIGA,
            bandwidth=3350 * _GIGA,
            link=450 * _GIGA,
            network=50 * _GIGA,
            source="NVIDIA H100 data sheet (SXM; bf16 dense; NVLink 900 GB/s both ways), NDR InfiniBand 400 Gb/s",
        ),
        Hardware(
            name="h200",
            flops=989 * _TERA,
            memory=141 * _GIGA,
            bandwidth=4800 * _GIGA,
            link=450 * _GIGA,
            network=50 * _GIGA,
            source="NVIDIA H200 data sheet (SXM; bf16 dense; NVLink 900 GB/s both ways), NDR InfiniBand 400 Gb/s",
        ),
    )
}


def hardware(name: str) -> Hardware:
    """The hardware of a name.

    Raises:
        UserError: If there is none.
    """
    if name not in HARDWARE:
        raise UserError([Fault("--hardware", f"there is no '{name}'", suggest(name, HARDWARE))])
    return HARDWARE[name]
