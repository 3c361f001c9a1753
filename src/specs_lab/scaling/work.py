"""Operations and bytes of passes through a model, from its shape.

Token by token they are counted as :class:`specs_lab.core.budget.Budget` does; added is what it leaves out: attention
over the context, the vision tower, what is computed twice, and every byte that moves.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from specs_lab.core.budget import BACKWARD_FLOPS, FORWARD_FLOPS, FROZEN_BACKWARD_FLOPS, Budget
from specs_lab.preflight.loads import FLOAT, Pass, Setup
from specs_lab.preflight.memory import ADAM_BYTES, DIRECT_LOGITS, NF4_BYTES, text_activations, trainable_parameters
from specs_lab.preflight.shapes import ModelShape

WINDOW = 64
"""Patches that a patch of a picture attends to in most layers of Qwen2.5-VL's vision tower (112 px)."""
FULL_SHARE = 0.125
"""Share of the tower's layers that attend to the whole picture: 4 of 32."""
_SCORES_BACKWARD = 2.5
"""Operations of attention's backward pass over those of its forward pass: its scores are made again (2307.08691)."""
_BACKWARD_LAUNCHES = 2
_LOGIT_BYTES_TRAINED, _LOGIT_BYTES_SCORED = 16, 8
"""Bytes that move for each logit beside the product that makes it."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one device has to do.

    Attributes:
        flops: Operations of matrix products.
        width: Hidden size of the layers that they are of; the largest where work is added up.
        weights: Bytes of weights and gradients that these read and write.
        cache: Bytes of cached keys and values that are read.
        moved: Bytes of activations and logits that other operations move, once each.
        states: Bytes that the optimizer reads and writes.
        launches: Passes through a layer.
    """

    flops: float = 0.0
    width: float = 0.0
    weights: float = 0.0
    cache: float = 0.0
    moved: float = 0.0
    states: float = 0.0
    launches: float = 0.0

    def __add__(self, other: Work) -> Work:
        added = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Work(**{**added, "width": max(self.width, other.width)})

    def times(self, count: float) -> Work:
        """As much, so many times."""
        return Work(**{**{f.name: count * getattr(self, f.name) for f in fields(self)}, "width": self.width})


def budget_of(shape: ModelShape, setup: Setup) -> Budget:
    """An empty budget of a model, as a stage's: parameters that a token passes through, and how many are frozen."""
    layers, head = shape.text.parameters, shape.vocabulary * shape.text.hidden
    if setup.adapter is None:
        return Budget(parameters=layers + head)
    learning = setup.adapter.parameters(shape.text)
    return Budget(parameters=layers + head + learning, frozen=layers + head)


def scores(load: Pass) -> float:
    """How many pairs of a token and one that it attends to there are in a layer."""
    if load.shared:
        prompt = load.prompt_tokens**2 / 2
        branch = load.fed * load.prompt_tokens + load.fed**2 / 2
        return load.prompts * (prompt + load.branches * branch)
    return load.prompts * load.branches * (load.prompt_tokens + load.completion_tokens) ** 2 / 2


def layer_bytes(shape: ModelShape, setup: Setup) -> float:
    """Bytes of the language model's layers as products read them; in four bits they are written out first."""
    count, adapter = shape.text.parameters, setup.adapter
    if adapter is not None and adapter.four_bit:
        return count * (NF4_BYTES + 2 * setup.element)
    return count * setup.element


def forward(shape: ModelShape, setup: Setup, load: Pass) -> Work:
    """A pass without gradients that scores completions, or with no branches encodes prompts."""
    text = shape.text
    head = shape.vocabulary * text.hidden
    asked = load.predicted or load.prompts
    layers = budget_of(shape, setup)
    layers.parameters -= head
    layers.forward(load.tokens)
    kept = text_activations(text, shape.heads, replace(setup, checkpointing=False), load)
    return Work(
        flops=layers.flops + FORWARD_FLOPS * head * asked + 4 * text.query * text.count * scores(load),
        width=text.hidden,
        weights=layer_bytes(shape, setup) + head * setup.element,
        moved=kept / 2 + _LOGIT_BYTES_SCORED * asked * shape.vocabulary,
        launches=text.count,
    )


def train(shape: ModelShape, setup: Setup, load: Pass, passes: int = 1) -> Work:
    """A forward and a backward pass over a load, in so many micro-batches; the tower and the optimizer are apart.

    Args:
        shape: The model.
        setup: How it is held.
        load: All of it.
        passes: Micro-batches that it is cut into.
    """
    text, full = shape.text, setup.adapter is None
    head = shape.vocabulary * text.hidden
    again = FORWARD_FLOPS if setup.checkpointing else 0
    layers = budget_of(shape, setup)
    layers.parameters -= head
    layers.frozen -= 0 if full else head
    layers.train(load.tokens)
    recomputed = again * layers.parameters * load.tokens
    of_head = FORWARD_FLOPS + (BACKWARD_FLOPS if full else FROZEN_BACKWARD_FLOPS)
    if load.predicted * shape.vocabulary > DIRECT_LOGITS * passes:
        of_head += FORWARD_FLOPS  # logits are not kept but made again
    attention = 4 * text.query * text.count * scores(load) * (1 + _SCORES_BACKWARD + bool(again))
    kept = text_activations(text, shape.heads, replace(setup, checkpointing=False), load)
    reads = 2 + bool(again)
    weights = reads * (layer_bytes(shape, setup) + head * setup.element)
    if full:
        weights += 2 * FLOAT * (text.parameters + head)  # gradients are added to
        weights += (FLOAT + 2) * (text.parameters + head) if setup.half else 0  # weights are cast
    return Work(
        flops=layers.flops + recomputed + of_head * head * load.predicted + attention,
        width=text.hidden,
        weights=weights * passes,
        moved=(1.5 + 0.5 * bool(again)) * kept + _LOGIT_BYTES_TRAINED * load.predicted * shape.vocabulary,
        launches=text.count * (1 + _BACKWARD_LAUNCHES + bool(again)) * passes,
    )


def tower(shape: ModelShape, setup: Setup, patches: int, pictures: int, *, learns: bool = False) -> Work:
    """The vision tower over pictures, with its backward pass if it learns.

    Args:
        shape: The model.
        setup: How it is held.
        patches: Of all pictures.
        pictures: How many there are.
        learns: Whether there is a backward pass.
    """
    layers = shape.tower
    if layers is None or not patches:
        return Work()
    each = patches / max(1, pictures)
    context = FULL_SHARE * each + (1 - FULL_SHARE) * min(each, WINDOW)
    rest = shape.tower_parameters - layers.parameters
    through = FORWARD_FLOPS * (layers.parameters * patches + rest * patches / max(1, shape.merge**2))
    attended = 4 * layers.query * layers.count * patches * context
    times = 1 + BACKWARD_FLOPS / FORWARD_FLOPS + bool(setup.checkpointing) if learns else 1
    kept = (
        setup.element * patches * layers.count * (13 * layers.hidden + (4 if layers.gated else 2) * layers.feed_forward)
    )
    return Work(
        flops=times * (through + attended),
        width=layers.hidden,
        weights=times * setup.element * shape.tower_parameters,
        moved=(1.5 if learns else 0.5) * kept,
        launches=layers.count * (1 + _BACKWARD_LAUNCHES if learns else 1),
    )


def optimiser(shape: ModelShape, setup: Setup) -> Work:
    """Clipping and an update of everything that learns."""
    states = ADAM_BYTES[setup.optimiser]
    norm_and_clip, weights_and_gradients = 3 * FLOAT, 3 * FLOAT
    each = norm_and_clip + weights_and_gradients + 2 * states
    return Work(states=each * trainable_parameters(shape, setup))
