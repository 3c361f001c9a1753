"""How much memory training and sampling take, told from a model's shape.

Counted is what autograd keeps for the backward pass of the layers that this package runs (attention by fused kernels,
log-probabilities in chunks), tensor by tensor. ``python -m benchmarks.memory`` holds it against what is measured.
"""

from __future__ import annotations

from specs_lab.preflight.loads import FLOAT, Adapter, Decoding, Estimate, Pass, Setup
from specs_lab.preflight.shapes import Layers, ModelShape

ADAM_BYTES = {"adamw": 8.0, "adamw_8bit": 2.0}
"""Bytes of an optimizer's states for one trainable parameter."""
NF4_BYTES = 0.52
"""Bytes of a weight in NF4: four bits, and the doubly quantised scales of its blocks."""
DIRECT_LOGITS = 1 << 22
CHUNK = {"cpu": 1 << 24, "cuda": 1 << 28}
"""As in :mod:`specs_lab.objectives.logprobs`, which imports torch."""
CACHE_BLOCK = 64
"""Tokens by which decoding's caches grow; see :class:`specs_lab.models.attention.DecodePlan`."""


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
