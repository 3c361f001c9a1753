"""How much memory training and sampling take, told from a model's shape.

Counted is what autograd keeps for the backward pass of the layers that this package runs (attention by fused kernels,
log-probabilities in chunks), tensor by tensor. ``python -m benchmarks.memory`` holds it against what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from specs_lab.preflight.shapes import Layers, ModelShape

FLOAT = 4
ADAM_BYTES = {"adamw": 8.0, "adamw_8bit": 2.0}
"""Bytes of an optimizer's states for one trainable parameter."""
NF4_BYTES = 0.52
"""Bytes of a weight in NF4: four bits, and the doubly quantised scales of its blocks."""
DIRECT_LOGITS = 1 << 22
CHUNK = {"cpu": 1 << 24, "cuda": 1 << 28}
"""As in :mod:`specs_lab.objectives.logprobs`, which imports torch."""
CACHE_BLOCK = 64
"""Tokens by which decoding's caches grow; see :class:`specs_lab.models.attention.DecodePlan`."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What is trained in place of all weights.

    Attributes:
        rank: Rank of the two factors beside each matrix of the language model's layers.
        dora: Whether magnitudes are trained too.
        four_bit: Whether the frozen matrices are kept in four bits.
    """

    rank: int
    dora: bool = False
    four_bit: bool = False

    def parameters(self, layers: Layers) -> int:
        """Of the adapter."""
        return sum(self.rank * (o + i) + (o if self.dora else 0) for o, i in layers.matrices)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a model is held.

    Attributes:
        device: ``cpu`` or ``cuda``.
        half: Whether what does not learn is bfloat16, and so is what is computed.
        train_vision: Whether the vision tower learns.
        adapter: What is trained; None for all weights.
        optimiser: A key of :data:`ADAM_BYTES`.
        checkpointing: Whether activations within layers are made again.
        copied_reference: Whether a frozen copy of the model is held.
        feature_cache: Most bytes of picture features that are kept; 0 for none.
    """

    device: str = "cpu"
    half: bool = False
    train_vision: bool = False
    adapter: Adapter | None = None
    optimiser: str = "adamw"
    checkpointing: bool = False
    copied_reference: bool = False
    feature_cache: int = 0

    @property
    def element(self) -> int:
        """Bytes of a number that is computed."""
        return 2 if self.half else FLOAT


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The largest micro-batch of a step.

    Attributes:
        prompts: Prompts in it.
        prompt_tokens: Tokens of each, those of pictures included.
        branches: Completions behind each.
        completion_tokens: Tokens of each.
        patches: Patches of the pictures of each prompt, before they are merged.
        alone: Whether it is the only one of its step: then gradients and activations are not at their most at once.
        shared: Whether completions share their prompt.
    """

    prompts: int
    prompt_tokens: int
    branches: int
    completion_tokens: int
    patches: int = 0
    alone: bool = True
    shared: bool = True

    @classmethod
    def within(
        cls,
        limit: int,
        prompts: int,
        prompt_tokens: int,
        branches: int,
        completion_tokens: int,
        patches: int = 0,
        *,
        whole: bool = True,
        shared: bool = True,
    ) -> Pass:
        """The largest pass of a step under a limit of tokens, as :mod:`specs_lab.models.micro_batches` fills it.

        Args:
            limit: Most tokens in one pass.
            prompts: Prompts of the step.
            prompt_tokens: Tokens of each.
            branches: Completions behind each.
            completion_tokens: Tokens of each.
            patches: Patches of each prompt's pictures.
            whole: Whether the completions of a prompt stay together (sides of a pair), also beyond the limit.
            shared: Whether completions share their prompt.
        """
        own = prompt_tokens + branches * completion_tokens
        if not shared:
            own = branches * (prompt_tokens + completion_tokens)
        fit = min(prompts, max(1, limit // own))
        if own > limit and not whole:
            room = limit - prompt_tokens if shared else limit
            each = completion_tokens if shared else prompt_tokens + completion_tokens
            branches = min(branches, max(1, room // each))
        return cls(
            prompts=fit,
            prompt_tokens=prompt_tokens,
            branches=branches,
            completion_tokens=completion_tokens,
            patches=patches,
            alone=fit == prompts and own * prompts <= max(limit, own),
            shared=shared,
        )

    @property
    def fed(self) -> int:
        """Tokens of a completion that go through the model: nothing is asked of the last."""
        return max(0, self.completion_tokens - 1)

    @property
    def tokens(self) -> int:
        """Tokens that go through the layers."""
        if self.shared:
            return self.prompts * (self.prompt_tokens + self.branches * self.fed)
        return self.prompts * self.branches * (self.prompt_tokens + self.completion_tokens)

    @property
    def predicted(self) -> int:
        """Tokens whose log-probability is asked for."""
        return self.prompts * self.branches * self.completion_tokens


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Sampling at its largest.

    Attributes:
        rows: Responses side by side.
        prompts: Prompts behind them.
        prompt_tokens: Tokens of each.
        new_tokens: Longest response.
        patches: Patches of each prompt's pictures.
    """

    rows: int
    prompts: int
    prompt_tokens: int
    new_tokens: int
    patches: int = 0


@dataclass(frozen=True)
class Estimate:
    """Bytes by what they are for.

    Attributes:
        held: What is there all the time.
        training: What a training pass adds at its peak.
        sampling: What sampling adds at its peak; gradients of the last step are among it.
    """

    held: Mapping[str, int] = field(default_factory=dict)
    training: Mapping[str, int] = field(default_factory=dict)
    sampling: Mapping[str, int] = field(default_factory=dict)

    @property
    def certain(self) -> int:
        """What there must be room for whatever the batch: what is held."""
        return sum(self.held.values())

    @property
    def peak(self) -> int:
        """The most at once."""
        return self.certain + max(sum(self.training.values()), sum(self.sampling.values()))

    @property
    def parts(self) -> dict[str, int]:
        """What makes up the peak."""
        trains = sum(self.training.values()) >= sum(self.sampling.values())
        return {**self.held, **(self.training if trains else self.sampling)}


def estimate(
    shape: ModelShape, setup: Setup, training: Pass | None = None, sampling: Decoding | None = None
) -> Estimate:
    """The memory of a stage.

    Args:
        shape: The model.
        setup: How it is held.
        training: The largest micro-batch; None if nothing is trained.
        sampling: The largest batch of responses; None if nothing is sampled.
    """
    trained = trainable_parameters(shape, setup) if training is not None else 0
    held = _held(shape, setup, trained)
    pictures = max([p.prompts * p.patches for p in (training, sampling) if p is not None], default=0)
    if not setup.train_vision:
        held["picture features"] = min(setup.feature_cache, _features(shape, pictures) * setup.element)
    of_training: dict[str, int] = {}
    if training is not None:
        of_training = _of_pass(shape, setup, training, trained)
    of_sampling: dict[str, int] = {}
    if sampling is not None:
        of_sampling = _of_sampling(shape, setup, sampling)
        if training is not None:
            of_sampling["gradients"] = FLOAT * trained
    return Estimate(held, of_training, of_sampling)


def trainable_parameters(shape: ModelShape, setup: Setup) -> int:
    """How many parameters learn."""
    if setup.adapter is not None:
        return setup.adapter.parameters(shape.text)
    return shape.parameters if setup.train_vision else shape.text_parameters


def _held(shape: ModelShape, setup: Setup, trained: int) -> dict[str, int]:
    element, adapter = setup.element, setup.adapter
    if trained and adapter is None:
        weights = FLOAT * trained + element * (shape.parameters - trained)
    elif adapter is not None and adapter.four_bit:
        quantised = sum(o * i for o, i in shape.text.matrices)
        weights = round(NF4_BYTES * quantised) + element * (shape.parameters - quantised)
    else:
        weights = element * shape.parameters
    held = {"weights": weights}
    if adapter is not None and trained:
        held["adapter"] = FLOAT * trained
    if setup.copied_reference and adapter is None:
        held["reference copy"] = weights
    if trained:
        held["optimizer states"] = round(ADAM_BYTES[setup.optimiser] * trained)
    return held


def _of_pass(shape: ModelShape, setup: Setup, load: Pass, trained: int) -> dict[str, int]:
    text = shape.text
    activations = text_activations(text, shape.heads, setup, load)
    if setup.train_vision:
        activations += tower_activations(shape, setup, load.prompts * load.patches)
    logits, of_head = _logits(shape, setup, load)
    gradients = FLOAT * trained
    workspace = _backward_workspace(text, setup, load.tokens)
    # The embedding table's gradient is as large as the table; tied, it is there beside that of the output layer.
    of_table = FLOAT * shape.vocabulary * text.hidden if setup.adapter is None and shape.tied else 0
    one_layer = activations // max(1, text.count)
    if load.alone:
        # Gradients come as activations go: the backward pass begins with all of one and ends with all of the other.
        first = activations + of_head + max(logits, workspace)
        last = gradients + max(of_table, workspace + one_layer)
        if first < last:
            activations, extra = min(one_layer, activations), last - gradients - one_layer
        else:
            gradients, extra = of_head, max(logits, workspace)
    else:
        extra = max(logits, workspace) + of_head
    parts = {"activations": activations, "gradients": gradients, "logits and workspace": max(0, extra)}
    if setup.half and setup.adapter is None:
        parts["half-precision copies of weights"] = 2 * trained
    return parts


def text_activations(text: Layers, heads: int, setup: Setup, load: Pass) -> int:
    """Bytes that autograd keeps of the language model's layers."""
    inside = _layer_activations(text, heads, setup, load)
    stream = FLOAT * load.tokens * text.hidden
    if setup.checkpointing:
        return text.count * stream + inside
    return text.count * inside + 2 * stream  # the embeddings, the last norm


def _layer_activations(text: Layers, heads: int, setup: Setup, load: Pass) -> int:
    tokens, b, adapter = load.tokens, setup.element, setup.adapter
    full = adapter is None
    # Both norms, always in float32: what comes in, and what is normalised if a scale learns; then what comes out, of
    # which autocast makes a copy for each matrix that reads it.
    copies = 5 if text.gated else 4
    norms = 2 * text.hidden * (FLOAT + FLOAT * full) + b * text.hidden * (copies if setup.half else 2)
    attention = b * (2 * text.query + 2 * text.key + (text.query + text.key if text.query_norm else 0))
    attention += FLOAT * heads + 2 * b * (text.query // max(1, heads))
    feed_forward = b * (4 if text.gated else 2) * text.feed_forward
    of_adapter = 0 if adapter is None else _adapter_activations(text, adapter, setup)
    return tokens * (norms + attention + feed_forward + of_adapter) + _branch_activations(text, heads, setup, load)


def _adapter_activations(text: Layers, adapter: Adapter, setup: Setup) -> int:
    """Bytes a token and layer: between the factors, and with DoRA both products, which magnitudes scale."""
    ups = 2 if text.gated else 1
    between = (5 + ups) * adapter.rank * setup.element
    if setup.half:  # PEFT casts what comes in to float32, autocast casts it back
        between += setup.element * (text.hidden + text.query + text.feed_forward)
    if not adapter.dora:
        return between
    products = 2 * text.query + 2 * text.key + ups * text.feed_forward + text.hidden - text.query + text.hidden
    return between + 2 * FLOAT * products


def _branch_activations(text: Layers, heads: int, setup: Setup, load: Pass) -> int:
    """What branches keep beyond plain sequences: keys and values of the prompt, once for each branch."""
    if not load.shared or load.branches < 2:
        return 0
    branches = load.prompts * load.branches
    width = text.query if setup.device == "cuda" and text.query != text.key else text.key
    keys = 2 * branches * (load.prompt_tokens + load.fed) * width
    outputs = load.tokens * text.query
    return setup.element * (keys + outputs)


def tower_activations(shape: ModelShape, setup: Setup, patches: int) -> int:
    """Bytes that autograd keeps of a vision tower that learns."""
    tower = shape.tower
    if tower is None:
        return 0
    widths = 4 if tower.gated else 2
    inside = 2 * tower.hidden * 3 + 3 * tower.query + 4 * tower.query + widths * tower.feed_forward
    if setup.checkpointing:
        return setup.element * patches * (tower.count * tower.hidden + inside)
    return setup.element * patches * tower.count * inside


def _logits(shape: ModelShape, setup: Setup, load: Pass) -> tuple[int, int]:
    """Bytes of logits at their most, and of the gradient of the output layer, with which the backward pass begins."""
    total = load.predicted * shape.vocabulary
    states = 2 * load.predicted * shape.text.hidden * setup.element
    of_head = FLOAT * shape.vocabulary * shape.text.hidden if setup.adapter is None else 0
    if total <= DIRECT_LOGITS:
        return FLOAT * 3 * total + states, of_head
    if not load.shared:  # the model's own forward pass makes all of them
        return FLOAT * 4 * total + states, of_head
    rows = max(1, CHUNK[setup.device] // shape.vocabulary)
    return FLOAT * 2 * min(total, rows * shape.vocabulary) + states, of_head


def _backward_workspace(text: Layers, setup: Setup, tokens: int) -> int:
    """Bytes of gradients within one layer, at its feed-forward part."""
    return setup.element * tokens * (3 * text.feed_forward + 2 * text.hidden)


def _features(shape: ModelShape, patches: int) -> int:
    return patches // max(1, shape.merge**2) * shape.text.hidden


def _of_sampling(shape: ModelShape, setup: Setup, load: Decoding) -> dict[str, int]:
    text, b = shape.text, setup.element
    grown = -(-load.new_tokens // CACHE_BLOCK) * CACHE_BLOCK
    cached = load.prompts * load.prompt_tokens + load.rows * grown
    # Log-probabilities, weights, and their running sum in float64.
    logits = load.rows * shape.vocabulary * (FLOAT * 3 + 8)
    prefill = load.prompts * load.prompt_tokens * (3 * text.feed_forward + 4 * text.hidden) * b
    return {"caches of keys and values": 2 * text.count * text.key * cached * b, "logits": max(logits, prefill)}
