"""Linear layers in four bits: bitsandbytes' NF4, on GPUs and CPUs.

Weights are quantised on the CPU whatever the device, so that an adapter that was trained on a GPU is merged into the
very weights that it was trained on. bitsandbytes is slow to import; only who quantises imports it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from specs_lab.models.holding import Holding

BLOCK = 64
"""Weights that share a scale."""


def quantise(model: nn.Module, holding: Holding) -> None:
    """Replaces the linear layers of a model, which must be on the CPU, by four-bit ones that do not learn."""
    for parent, name, linear in _linears(model):
        setattr(parent, name, _four_bit(linear, holding))


def round_trip(model: nn.Module, holding: Holding) -> None:
    """Gives the linear layers of a model the weights and biases that :func:`quantise` would, unpacked."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    for _, _, linear in _linears(model):
        weight = linear.weight.data.to(holding.torch_computes).contiguous()
        packed, state = quantize_4bit(
            weight, blocksize=BLOCK, compress_statistics=holding.double_quant, quant_type="nf4"
        )
        linear.weight.data = dequantize_4bit(packed, state)
        if linear.bias is not None:  # bitsandbytes rounds it to what the layer computes in
            linear.bias.data = linear.bias.data.to(holding.torch_computes)


def _linears(model: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """(parent, name in it, layer) of the linear layers; none has a subclass's tricks."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]


def _four_bit(linear: nn.Linear, holding: Holding) -> nn.Module:
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    pack: Any = Params4bit  # its signature is not what type checkers take it for
    with torch.device("meta"):  # its own weights are not needed
        made: Any = Linear4bit(
            linear.in_features, linear.out_features, bias=False, compute_dtype=holding.torch_computes
        )
    # bitsandbytes would repack weights in evaluation mode on CPUs with AVX512-BF16, and then compute in bfloat16:
    # samples would come from another policy than the one that is trained.
    made.support_avx512bf16_for_cpu = False
    made.weight = pack(
        linear.weight.data.to(holding.torch_computes).contiguous(),  # it unpacks to the type that it was given
        requires_grad=False,
        blocksize=BLOCK,
        compress_statistics=holding.double_quant,
        quant_type="nf4",
        module=made,
    ).to("cpu")
    if linear.bias is not None:
        made.bias = nn.Parameter(linear.bias.data, requires_grad=False)
    return made.train(linear.training)
