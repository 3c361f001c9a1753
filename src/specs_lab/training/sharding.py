"""FSDP2: ranks that hold one model in shares, gather each layer when it runs, and sum gradients as they come.

A sharded model runs on all ranks or on none: every pass gathers layers from everybody. Ranks have different amounts of
work, so they go *in step*: before each pass they agree on what runs next, and whoever has nothing to run there does an
idle pass, of one token whose loss counts nothing, until all are done. That holds for training, rollouts, the reference
and evaluations alike, whatever each of them loops over.

Whole on every rank stay the parameters of an adapter and what is frozen of the vision tower: small beside the language
model, and thus caches of picture features work as they do in one process. Gradients of what is whole are summed as
under DDP. A tower or projector that learns is sharded; when some rank's pass has pictures, so has everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from specs_lab.core.errors import Fault, UserError
from specs_lab.models.prompts import Prompt, Row
from specs_lab.models.vlm import VLM
from specs_lab.training.distributed import rank, world_size

T = TypeVar("T")

_NOTHING = 1 << 30
"""What a rank wants to run that has no work left."""


class Shards:
    """Models that all ranks hold in shares.

    Args:
        vlms: The models, sharded, in the same order on all ranks.
        pictures: Of each, whether something that pictures go through is sharded.
        device: Where they run.
    """

    def __init__(self, vlms: Sequence[VLM], pictures: Sequence[bool], device: torch.device) -> None:
        self._vlms, self._device = tuple(vlms), device
        self._pictures = dict(zip(map(id, vlms), pictures, strict=True))
        self._open = 0
        self._idle = False
        self._picture: Prompt | None = None

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Passes are made inside; left when all ranks are through with theirs. May be nested."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
        if self._open:
            return
        while (wanted := self._agree(_NOTHING)) != _NOTHING:
            self._idle_pass(wanted)
        for vlm in self._vlms:  # what a pass without gradients has gathered at the root
            vlm.core.reshard()

    def run(self, vlm: VLM, compute: Callable[[], T]) -> T:
        """Computes with parts of a model, as one pass.

        Args:
            vlm: One of the models.
            compute: What to compute; tensors that gradients go through must be found in what it returns.
        """
        return vlm.core(compute=compute)

    def before_pass(self, vlm: VLM) -> None:
        """Waits until it is this pass's turn.

        Raises:
            RuntimeError: If passes are not made in step, so that the other ranks would wait forever.
        """
        if self._idle:
            return
        if not self._open:
            raise RuntimeError("a sharded model is run by one rank alone: passes belong into `in_step`")
        wish = 2 * self._vlms.index(vlm) + int(torch.is_grad_enabled())
        while (wanted := self._agree(wish)) != wish:
            self._idle_pass(wanted)

    def join_pictures(self, vlm: VLM, embeddings: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Lets a rank without pictures run the tower where another one has some; changes no value.

        Args:
            vlm: The model whose pass this is.
            embeddings: Of the pass's tokens.
            prompts: Of the pass.
        """
        if not self._pictures[id(vlm)]:
            return embeddings
        own = any(prompt.vision for prompt in prompts)
        somewhere = torch.tensor(int(own), device=self._device)
        dist.all_reduce(somewhere, op=dist.ReduceOp.MAX)
        seen = bool(somewhere)
        vlm.core.set_reduce_scatter_unused_params(seen)  # a picture need not go through every parameter
        if seen and not own:
            with vlm.computing():
                features = vlm.family.features([self._a_picture(vlm)])
            for part in features[0]:
                embeddings = embeddings + 0.0 * part.sum().to(embeddings)
        return embeddings

    def _agree(self, wish: int) -> int:
        """What is run next: the lowest of all wishes."""
        box = torch.tensor(wish, device=self._device)
        dist.all_reduce(box, op=dist.ReduceOp.MIN)
        return int(box)

    def _idle_pass(self, wanted: int) -> None:
        vlm, learns = self._vlms[wanted // 2], bool(wanted % 2)
        self._idle = True
        try:
            with torch.inference_mode(False), torch.set_grad_enabled(learns):
                nothing = vlm.logprobs([_idle_row(vlm)]).logprobs.sum() * 0.0
                if learns:
                    nothing.backward()
        finally:
            self._idle = False

    def _a_picture(self, vlm: VLM) -> Prompt:
        if self._picture is None:
            (self._picture,) = vlm.encode_prompts(["."], [[Image.new("RGB", (64, 64))]], ["idle"])
        return self._picture


def shard(vlms: Sequence[VLM], device: torch.device) -> None:
    """Turns models that every rank has whole into shares; to be called by all ranks.

    Args:
        vlms: The models; on the CPU they need no room on the device beyond their shares.
        device: Where they are to run.

    Raises:
        UserError: If a model is held in four bits.
    """
    mesh = init_device_mesh(device.type, (world_size(),))
    pictures = [_shard(vlm, mesh) for vlm in vlms]
    shards = Shards(vlms, pictures, device)
    for vlm in vlms:
        vlm.core.register_forward_pre_hook(lambda *_, vlm=vlm: shards.before_pass(vlm), prepend=True)
        vlm.to(device)
        vlm.shards = shards


def _shard(vlm: VLM, mesh: Any) -> bool:
    """Shards a model; returns whether something that pictures go through is sharded."""
    if getattr(vlm.core, "is_loaded_in_4bit", False):
        what = "weights in four bits cannot be shared out among processes"
        raise UserError([Fault("trainer.strategy", what, "choose strategy=ddp, or adapter=lora")])
    seeing = {**vlm.family.tower_parameters(), **vlm.family.projector_parameters()}.values()
    whole = {parameter for parameter in seeing if not (parameter.requires_grad and vlm.shares_prompts)}
    if vlm.has_adapter:
        whole |= {parameter for parameter in vlm.parameters() if parameter.requires_grad}
    core, kinds = vlm.core, vlm.family.shard_classes
    layers = [part for part in core.modules() if isinstance(part, kinds) and not set(part.parameters()) <= whole]
    for part in (*layers, core):
        fully_shard(part, mesh=mesh, ignored_params=whole, reshard_after_forward=part is not core)
    for part in core.modules():
        if isinstance(part, FSDPModule):  # sums, on every backend: losses are divided by counts of the whole step
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
    core.forward = _computing(core.forward)
    return any(parameter not in whole for parameter in seeing)


def _computing(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The model's forward pass, or whatever else is to be computed between gathering its parts and letting them go."""

    @wraps(forward)
    def wrapped(*arguments: Any, compute: Callable[[], Any] | None = None, **more: Any) -> Any:
        return forward(*arguments, **more) if compute is None else compute()

    return wrapped


def _idle_row(vlm: VLM) -> Row:
    token_ids = torch.tensor([vlm.end_id])
    return Row(Prompt(token_ids, vlm.family.positions(token_ids, {}), {}, "idle"), (vlm.end_id,))


def whole_state(model: nn.Module) -> dict[str, Tensor] | None:
    """The weights of a model that is held in shares, gathered on the first rank's CPU; all ranks take part.

    Returns:
        None if nothing is sharded; nothing but the names on the other ranks. Tied weights are one tensor.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if not any(isinstance(parameter, DTensor) for parameter in parameters.values()):
        return None
    gathered: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        owner = id(parameters.get(name, value))
        if owner not in gathered:
            full = value.full_tensor() if isinstance(value, DTensor) else value
            gathered[owner] = full.detach().cpu() if rank() == 0 else full.new_empty(0)
        state[name] = gathered[owner]
    return state
