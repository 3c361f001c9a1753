"""The wrapper: all that trainers, samplers and evaluators know of a vision-language model.

A prompt is tokenised once, its image placeholders expanded and counted against the picture's features, its M-RoPE
positions computed once; a completion's positions simply continue. Rows are right-padded for training (causal attention
never looks right, so no mask is needed), and log-probabilities are computed at completion positions only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from specs_lab.models.processing import IMAGE_TOKEN, needs_no_resizing, patchify

_VISION_SPECIALS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")


@dataclass(frozen=True)
class Prompt:
    """A tokenised user turn with its pictures.

    Attributes:
        token_ids: (P,) int64, image placeholders expanded.
        position_ids: (3, P) int64, M-RoPE positions (temporal, height, width).
        pixel_values: (patches, patch dim) float32 of all pictures, in order of appearance.
        grid_thw: (pictures, 3) int64, patch grid of each picture.
        key: Identifies the pictures for the feature cache.
    """

    token_ids: Tensor
    position_ids: Tensor
    pixel_values: Tensor
    grid_thw: Tensor
    key: str

    @property
    def next_position(self) -> int:
        """M-RoPE position of the first completion token (the same on all three axes)."""
        return int(self.position_ids.max()) + 1


@dataclass(frozen=True)
class Row:
    """A prompt with one completion, the unit of training.

    Attributes:
        prompt: The prompt.
        completion: Completion token ids, including the end token when the completion ended by itself.
    """

    prompt: Prompt
    completion: tuple[int, ...]


@dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities of completion tokens.

    Attributes:
        logprobs: (B, L) float32, zero where ``mask`` is False; L is the longest completion.
        mask: (B, L) bool, True at completion tokens.
        entropy: (B, L) float32, entropy in nats of the next-token distribution, zero where masked; None unless asked.
    """

    logprobs: Tensor
    mask: Tensor
    entropy: Tensor | None = None


@dataclass
class _FeatureCache:
    """Features of pictures seen by a frozen vision tower, at most ``limit`` pictures (oldest dropped first)."""

    limit: int
    items: dict[str, Tensor] = field(default_factory=dict)

    def put(self, key: str, value: Tensor) -> None:
        if len(self.items) >= self.limit:
            del self.items[next(iter(self.items))]
        self.items[key] = value


class VLM(torch.nn.Module):
    """A Hugging Face vision-language model with its processor.

    Args:
        model: A model of the Qwen2-VL lineage.
        processor: Its processor.
        freeze_vision: Freeze the vision tower; its features are then cached.
        feature_cache_size: How many pictures' features to keep.
    """

    def __init__(
        self, model: Any, processor: Any, *, freeze_vision: bool = True, feature_cache_size: int = 8192
    ) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.end_id: int = self.tokenizer.eos_token_id
        self.pad_id: int = self.tokenizer.pad_token_id
        self.image_id: int = model.config.image_token_id
        self.never_sampled: list[int] = [
            i for t in _VISION_SPECIALS if (i := self.tokenizer.convert_tokens_to_ids(t)) is not None
        ]
        self.vision_frozen = freeze_vision
        self._features = _FeatureCache(feature_cache_size)
        if freeze_vision:
            self.core.model.visual.requires_grad_(False)

    # -- loading and saving ------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: str | Path, *, dtype: torch.dtype = torch.float32, freeze_vision: bool = True) -> VLM:
        """Loads a checkpoint folder (safetensors only, no remote code)."""
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model.eval()
        return cls(model, processor, freeze_vision=freeze_vision)

    def save(self, folder: str | Path) -> None:
        """Writes a plain Hugging Face folder."""
        self.model.save_pretrained(folder, safe_serialization=True)
        self.processor.save_pretrained(folder)

    @property
    def core(self) -> Any:
        """The Hugging Face model itself, also when ``model`` is a PEFT model around it (adapters act in place)."""
        return self.model.get_base_model() if self.has_adapter else self.model

    @property
    def has_adapter(self) -> bool:
        """Whether ``model`` is a PEFT model. PEFT is slow to import, so it is not imported to find out."""
        peft = sys.modules.get("peft")
        return peft is not None and isinstance(self.model, peft.PeftModel)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.get_input_embeddings().weight.device

    @property
    def num_parameters(self) -> int:
        """Number of parameters, tied weights counted once."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def forward_parameters(self) -> int:
        """Parameters that a text token passes through: the layers and the output layer, not the embedding table."""
        layers = sum(p.numel() for p in self.core.model.language_model.layers.parameters())
        return layers + self.core.lm_head.weight.numel()

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients and evaluation mode inside; the mode is restored after."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)

    # -- inputs ------------------------------------------------------------------------------------------------------

    def encode_prompts(self, texts: Sequence[str], images: Sequence[Image.Image], keys: Sequence[str]) -> list[Prompt]:
        """Tokenises user turns that each show one picture before their text.

        Args:
            texts: The text of each turn.
            images: The picture of each turn.
            keys: What identifies each picture for the feature cache.

        Raises:
            ValueError: If a prompt's placeholders and picture features differ in number.
        """
        pixels, grids = self._pixels(images)
        merge = self.processor.image_processor.merge_size**2
        rendered = [self._render(text) for text in texts]
        expanded = [
            text.replace(IMAGE_TOKEN, IMAGE_TOKEN * (int(grid.prod()) // merge), 1)
            for text, grid in zip(rendered, grids, strict=True)
        ]
        encodings = self.tokenizer(expanded, add_special_tokens=False)["input_ids"]
        prompts = []
        for ids, pixel_values, grid, key in zip(encodings, pixels, grids, keys, strict=True):
            token_ids = torch.tensor(ids)
            placeholders, features = int((token_ids == self.image_id).sum()), int(grid.prod()) // merge
            if placeholders != features:
                raise ValueError(f"prompt {key}: {placeholders} image placeholders for {features} picture features")
            prompts.append(Prompt(token_ids, self._positions(token_ids, grid), pixel_values, grid[None], key))
        return prompts

    def _render(self, text: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    def _pixels(self, images: Sequence[Image.Image]) -> tuple[list[Tensor], list[Tensor]]:
        processor = self.processor.image_processor
        sizes = {image.size for image in images}
        if len(sizes) == 1 and needs_no_resizing(next(iter(sizes)), processor):
            values, grids = patchify(np.stack([np.asarray(image) for image in images]), processor)
            return list(torch.from_numpy(values)), list(torch.from_numpy(grids))
        each = [processor(images=[image], return_tensors="pt") for image in images]
        return [e["pixel_values"] for e in each], [e["image_grid_thw"][0] for e in each]

    def _positions(self, token_ids: Tensor, grid: Tensor) -> Tensor:
        kinds = (token_ids == self.image_id).int()[None]
        positions, _ = self.core.model.get_rope_index(token_ids[None], kinds, image_grid_thw=grid[None])
        return positions[:, 0]

    def encode_completions(self, texts: Sequence[str], *, ended: bool = True) -> list[tuple[int, ...]]:
        """Token ids of completions; the end token is appended when they ``ended``."""
        encodings = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        tail = (self.end_id,) if ended else ()
        return [(*ids, *tail) for ids in encodings]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of a completion without its end token."""
        return self.tokenizer.decode([i for i in token_ids if i != self.end_id], skip_special_tokens=False)

    # -- forward -----------------------------------------------------------------------------------------------------

    def image_features(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Features of each prompt's pictures, (image tokens, hidden) each; cached while the tower is frozen."""
        keys = [prompt.key for prompt in prompts]
        known = self._features.items if self.vision_frozen else {}
        fresh = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        made: dict[str, Tensor] = {}
        if fresh:
            grids = torch.cat([prompt.grid_thw for prompt in fresh.values()])
            pixels = torch.cat([prompt.pixel_values for prompt in fresh.values()])
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.vision_frozen):
                output = self.core.get_image_features(pixels.to(self.device), grids.to(self.device))
            features = torch.cat(output.pooler_output)
            made = dict(zip(fresh, features.split([self._image_tokens(p) for p in fresh.values()]), strict=True))
        result = [made[key] if key in made else known[key] for key in keys]
        if self.vision_frozen:
            for key, value in made.items():
                self._features.put(key, value.detach())
        return result

    def _image_tokens(self, prompt: Prompt) -> int:
        return int((prompt.token_ids == self.image_id).sum())

    def hidden_states(self, rows: Sequence[Row]) -> Tensor:
        """Last hidden states, (B, T, hidden), of right-padded prompt + completion."""
        ids = [torch.cat([row.prompt.token_ids, torch.tensor(row.completion, dtype=torch.long)]) for row in rows]
        positions = [self._row_positions(row).T for row in rows]
        output = self.core.model(
            input_ids=pad_sequence(ids, batch_first=True, padding_value=self.pad_id).to(self.device),
            position_ids=pad_sequence(positions, batch_first=True).permute(2, 0, 1).to(self.device),
            mm_encoder_outputs=self.encoder_outputs([row.prompt for row in rows]),
            use_cache=False,
        )
        return output.last_hidden_state

    def encoder_outputs(self, prompts: Sequence[Prompt]) -> dict[str, BaseModelOutputWithPooling]:
        """Picture features in the form in which the model takes them ready-made."""
        features: Any = self.image_features(prompts)  # the model expects a list here, whatever the class declares
        return {"image": BaseModelOutputWithPooling(pooler_output=features)}

    @staticmethod
    def _row_positions(row: Row) -> Tensor:
        start = row.prompt.next_position
        tail = torch.arange(start, start + len(row.completion)).expand(3, -1)
        return torch.cat([row.prompt.position_ids, tail], dim=1)

    def logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0, entropy: bool = False) -> TokenLogprobs:
        """Log-probabilities of every completion token under the model.

        Logits exist at completion positions only; a completion's first token is scored from the prompt's last
        position.

        Args:
            rows: B rows.
            temperature: Logits are divided by it, as in sampling.
            entropy: Also return the entropy at each position, at this temperature (without gradient).
        """
        hidden = self.hidden_states(rows)
        lengths = torch.tensor([len(row.completion) for row in rows])
        width = int(lengths.max()) if len(rows) else 0
        offsets = torch.tensor([len(row.prompt.token_ids) - 1 for row in rows])
        steps = torch.arange(width)
        mask = steps[None] < lengths[:, None]
        where = (torch.arange(len(rows))[:, None].expand_as(mask)[mask], (offsets[:, None] + steps[None])[mask])
        targets = torch.tensor([token for row in rows for token in row.completion], device=self.device)
        logits = self.core.lm_head(hidden[where]).float()
        flat = torch.log_softmax(logits / temperature, dim=-1)
        mask = mask.to(self.device)
        picked = flat.gather(1, targets[:, None])[:, 0]
        logprobs = torch.zeros(mask.shape, device=self.device).masked_scatter(mask, picked)
        if not entropy:
            return TokenLogprobs(logprobs, mask)
        flat = flat.detach()
        spread = torch.zeros(mask.shape, device=self.device).masked_scatter(mask, -(flat.exp() * flat).sum(-1))
        return TokenLogprobs(logprobs, mask, spread)
