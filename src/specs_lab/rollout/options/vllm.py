"""Sampling by a vLLM server: one of our own, or one that runs already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from specs_lab.core.chat import check_url
from specs_lab.core.errors import Fault
from specs_lab.core.options import OPERATIONAL, Checks, option
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.rollout.options.base import Rollout

if TYPE_CHECKING:
    from specs_lab.models.vlm import VLM
    from specs_lab.rollout.engines.base import RolloutEngine, Site

DTYPES = ("auto", "float32", "bfloat16")


@option("rollout", "vllm")
@dataclass(kw_only=True)
class VllmRollout(Rollout):
    """A vLLM server samples; it is given the weights after optimizer steps, and checked against the trainer each time.

    Attributes:
        importance_cap: Tokens are weighted by how much likelier the trainer finds them than the engine did, at most by
            this (truncated importance sampling); 0: they are not.
        ahead: 1: the next batch is asked for while this one's update runs, from weights one step older. 0: none.
        sync_every: Steps between two updates of the server's weights.
        dtype: What the server computes in: ``float32``, ``bfloat16``, or ``auto``, as the model does.
        parity_tolerance: Largest difference allowed between the server's log-probability of a token and the trainer's.
        probes: Prompts that this is checked on.
        url: Base URL of a server that runs already, e.g. ``http://localhost:8000``; empty: one is started.
        python: The Python of an environment with vLLM, for a server of our own; empty: the one that runs this.
        args: Further arguments of that server.
        memory_share: Its ``--gpu-memory-utilization``; 0: vLLM's default.
        max_length: Its longest sequence, prompt and response; 0: the model's.
        port: Its port; 0: a free one.
        start_s: How long a server may take until it answers.
        restarts: How often in a row a server may be started or waited for again without any response in between.
        shared: A folder that the server can read too, for weights; empty: one in the stage's work folder.
        max_concurrent: Most requests at a time.
        timeout_s: Longest time for one request, or for taking over weights.
        max_response_bytes: Longest response.
    """

    importance_cap: float = 2.0
    ahead: int = 0
    sync_every: int = 1
    dtype: str = "auto"
    parity_tolerance: float = field(default=0.05, metadata=OPERATIONAL)
    probes: int = field(default=4, metadata=OPERATIONAL)
    url: str = field(default="", metadata=OPERATIONAL)
    python: str = field(default="", metadata=OPERATIONAL)
    args: list[str] = field(default_factory=list[str], metadata=OPERATIONAL)
    memory_share: float = field(default=0.0, metadata=OPERATIONAL)
    max_length: int = field(default=0, metadata=OPERATIONAL)
    port: int = field(default=0, metadata=OPERATIONAL)
    start_s: float = field(default=900.0, metadata=OPERATIONAL)
    restarts: int = field(default=3, metadata=OPERATIONAL)
    shared: str = field(default="", metadata=OPERATIONAL)
    max_concurrent: int = field(default=64, metadata=OPERATIONAL)
    timeout_s: float = field(default=300.0, metadata=OPERATIONAL)
    max_response_bytes: int = field(default=1 << 24, metadata=OPERATIONAL)

    def checks(self) -> Checks:
        """The checks of all settings."""
        stale = self.ahead > 0 or self.sync_every > 1
        checks = check_url(Checks(), "url", self.url) if self.url else Checks()
        for name in ("sync_every", "probes", "max_concurrent", "max_response_bytes"):
            checks.at_least(name, getattr(self, name), 1)
        for name in ("importance_cap", "restarts", "port", "max_length"):
            checks.at_least(name, getattr(self, name), 0)
        for name in ("parity_tolerance", "start_s", "timeout_s"):
            checks.positive(name, getattr(self, name))
        return (
            checks.one_of("dtype", self.dtype, DTYPES)
            .share("memory_share", self.memory_share)
            .that(self.ahead in (0, 1), "ahead", f"{self.ahead} is neither 0 nor 1", "give 1, or 0 for none")
            .that(
                not stale or self.importance_cap > 0,
                "importance_cap",
                "responses come from older weights, and nothing corrects for that",
                "give a cap > 0, e.g. 2, or set ahead=0 and sync_every=1",
            )
            .that(
                not (self.url and self.python),
                "python",
                "a server that runs already is not started",
                "give either python, of an environment with vLLM, or url",
            )
        )

    def __post_init__(self) -> None:
        self.checks().done()

    def misfits(self, options: Mapping[str, Any]) -> list[Fault]:
        """Adapters and strategies that a server cannot be given the weights of."""
        return [*_adapter_faults(options.get("adapter")), *_trainer_faults(options.get("trainer"))]

    def open(self, vlm: VLM, site: Site) -> RolloutEngine:
        """See the base class."""
        from specs_lab.core.errors import raise_faults
        from specs_lab.rollout.engines.served import ServedEngine

        alone = site.devices == 1
        raise_faults([] if alone else [_several_processes()])
        return ServedEngine(self, vlm, site)


def _several_processes() -> Fault:
    what = "a server is given weights by a single training process"
    return Fault("rollout", what, "choose rollout=inprocess, or trainer.devices=1 and trainer.nodes=1")


def _trainer_faults(trainer: Any) -> list[Fault]:
    return [] if trainer is None or trainer.devices * trainer.nodes == 1 else [_several_processes()]


def _adapter_faults(adapter: Any) -> list[Fault]:
    faults = []
    if isinstance(adapter, QLoraAdapter):
        what = "the server would hold the weights below the adapter in full, the trainer holds them in four bits"
        faults.append(Fault("adapter", what, "choose adapter=lora, or rollout=inprocess"))
    elif isinstance(adapter, LoraAdapter):
        if adapter.decomposes:
            faults.append(Fault("adapter", "vLLM knows no DoRA", "choose adapter=lora, or rollout=inprocess"))
        if adapter.include_vision:
            what = "vLLM puts adapters on the language model alone"
            faults.append(Fault("adapter.include_vision", what, "set it to false, or choose rollout=inprocess"))
    return faults
