"""The wrapper: all that trainers, samplers and evaluators know of a vision-language model.

A prompt is tokenised once, its image placeholders expanded and counted against the picture's features, its positions
computed once; a completion's positions simply continue. Rows that share a prompt share its encoding: everything is laid
out in one sequence without padding (:mod:`specs_lab.models.packing`), completions branch off their prompt
(:mod:`specs_lab.models.attention`), and logits exist at completion positions only. Models that cannot do this take the
plain path: one padded row a completion, through the model's own forward pass.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForImageTextToText

from specs_lab.core.errors import Fault, UserError
from specs_lab.models.attention import BRANCH_ATTENTION, AttentionPlan, BranchPlan, no_mask
from specs_lab.models.encoding import encode_prompts
from specs_lab.models.families import family_of
from specs_lab.models.features import FeatureCache, Features
from specs_lab.models.packing import pack
from specs_lab.models.processing import load_processor, refuse_code, save_processor
from specs_lab.models.prompts import Prompt, Row
from specs_lab.models.setup import ModelSetup
from specs_lab.objectives.logprobs import (
    TokenLogprobs,
    TokenStatistics,
    by_row,
    statistics_of_logits,
    token_statistics,
)

T = TypeVar("T")


class Shards(Protocol):
    """Several processes that hold a model in shares; see :mod:`specs_lab.training.sharding`."""

    def in_step(self) -> AbstractContextManager[None]:
        """Passes are made inside."""
        ...

    def run(self, vlm: VLM, compute: Callable[[], T]) -> T:
        """Computes with parts of a model, as one pass."""
        ...

    def join_pictures(self, vlm: VLM, embeddings: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Runs the tower where another process has pictures; returns equal embeddings."""
        ...


class VLM(torch.nn.Module):
    """A Hugging Face vision-language model with its processor.

    Args:
        model: The model, or a PEFT model around it.
        processor: Its processor.
        setup: What is frozen, types of numbers and pixel budget. The features of a tower that is frozen with its
            projector are cached, until its weights or its place change.
        share_prompts: Encode a prompt once for all its completions where the model allows it (:attr:`why_plain`).
        feature_cache_bytes: Most memory for cached features.

    Attributes:
        end_id: The token that completions learn to end with.
        end_ids: All tokens that end a sampled completion: that one and those of the generation config.
        never_sampled: Tokens that only pictures have.
        why_plain: Why every row has a copy of its prompt of its own; None if prompts are shared.
        shards: What makes passes of a model that several processes hold in shares; None if this one has all of it.

    Raises:
        ValueError: If the tower is to be frozen and is not found or has an adapter, or completions have no end token.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        setup: ModelSetup | None = None,
        share_prompts: bool = True,
        feature_cache_bytes: int = 1 << 30,
    ) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.family = family_of(self.core)
        self.family.agree_with(processor)
        self.end_id: int = self.family.end_id(self.tokenizer)
        self.pad_id: int = self.tokenizer.pad_token_id
        self.image_id: int = self.family.image_id
        self.end_ids = self._find_end_ids()
        self.never_sampled = self.family.vision_ids(self.tokenizer)
        self.why_plain: str | None = self.family.why_plain() if share_prompts else "it was asked for"
        if self.shares_prompts:
            self.core.config.get_text_config()._attn_implementation = BRANCH_ATTENTION
        self.setup = setup or ModelSetup()
        self.vision_frozen = self.setup.freeze_vision and self.setup.freeze_projector
        self.features = FeatureCache(feature_cache_bytes)
        self._features_made_by: tuple[int, ...] = ()
        self.shards: Shards | None = None
        self._freeze()

    def _find_end_ids(self) -> list[int]:
        if self.end_id is None or self.pad_id is None:
            raise ValueError("the tokenizer has no end token or no padding token: completions could not end")
        configured = getattr(getattr(self.core, "generation_config", None), "eos_token_id", None)
        several = configured if isinstance(configured, list) else [configured] if configured is not None else []
        return sorted({self.end_id, *several})

    def _freeze(self) -> None:
        """Freezes what the setup says.

        Raises:
            ValueError: If it is not there, or has an adapter.
        """
        tower, projector = self.family.tower_parameters(), self.family.projector_parameters()
        if self.setup.freeze_vision and not tower:
            raise ValueError("no vision tower was found to freeze: pass freeze_vision=False")
        frozen = (tower if self.setup.freeze_vision else {}) | (projector if self.setup.freeze_projector else {})
        if any("lora_" in name for name in frozen):
            raise ValueError("the vision tower has an adapter, so it cannot be frozen: pass freeze_vision=False")
        for parameter in frozen.values():
            parameter.requires_grad_(False)

    # -- loading and saving ------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: str | Path, *, setup: ModelSetup | None = None, **options: Any) -> VLM:
        """Loads a checkpoint folder (safetensors only, no remote code); ``options`` are the constructor's.

        Raises:
            UserError: If the folder lacks weights of the model, or see
                :func:`specs_lab.models.processing.load_processor`.
        """
        setup = setup or ModelSetup()
        refuse_code(folder)
        local: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
        load: Any = AutoModelForImageTextToText.from_pretrained
        model, found = load(folder, dtype=setup.torch_dtype, output_loading_info=True, **local)
        if missing := sorted(found["missing_keys"]):  # transformers would draw them at random, with a line in the log
            what = f"lacks {len(missing)} of the model's weights, the first is {missing[0]}"
            raise UserError([Fault(str(folder), what, "give a complete checkpoint folder")])
        model.eval()
        return cls(model, load_processor(folder, setup), setup=setup, **options)

    def save(self, folder: str | Path, state: Mapping[str, Tensor] | None = None) -> None:
        """Writes a plain Hugging Face folder; of a model with an adapter, the adapter alone.

        Args:
            folder: Where to.
            state: The weights, where this process does not have all of them.
        """
        self.model.save_pretrained(folder, safe_serialization=True, state_dict=state)
        save_processor(self.processor, folder)

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
    def shares_prompts(self) -> bool:
        """Whether rows with the same prompt share its encoding."""
        return self.why_plain is None

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.get_input_embeddings().weight.device

    @property
    def num_parameters(self) -> int:
        """Number of parameters, tied weights counted once."""
        return sum(map(_size, self.model.parameters()))

    @property
    def forward_parameters(self) -> int:
        """Parameters that a text token passes through: the layers and the output layer, not the embedding table."""
        return sum(map(_size, self._forward_weights()))

    @property
    def frozen_forward_parameters(self) -> int:
        """How many of them do not learn."""
        return sum(_size(weight) for weight in self._forward_weights() if not weight.requires_grad)

    def _forward_weights(self) -> list[torch.nn.Parameter]:
        return [*self.family.text_model.layers.parameters(), self.core.lm_head.weight]

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients and evaluation mode inside; the model's mode, one for all its parts, is restored after."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)

    def in_step(self) -> AbstractContextManager[Any]:
        """Where passes are made: processes that hold the model in shares leave together. Otherwise nothing."""
        return nullcontext() if self.shards is None else self.shards.in_step()

    def one_pass(self, compute: Callable[[], T]) -> T:
        """Computes with parts of the model; tensors that gradients go through must be found in what is returned."""
        return compute() if self.shards is None else self.shards.run(self, compute)

    def computing(self) -> AbstractContextManager[Any]:
        """Forward passes in the setup's type of numbers, whatever the type of the weights; nothing for float32."""
        if self.setup.torch_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.setup.torch_dtype)

    # -- inputs ------------------------------------------------------------------------------------------------------

    def encode_prompts(
        self, texts: Sequence[str], images: Sequence[Sequence[Image.Image]], keys: Sequence[str]
    ) -> list[Prompt]:
        """Tokenises user turns with their pictures.

        Args:
            texts: The text of each turn; see :func:`specs_lab.core.pictures.laid_out` for the places of pictures in it.
            images: The pictures of each turn, if any.
            keys: What identifies each turn's pictures for the feature cache.

        Raises:
            ValueError: If a prompt's placeholders and picture features differ in number.
        """
        return encode_prompts(self.processor, self.family, texts, images, keys)

    def encode_completions(self, texts: Sequence[str], *, ended: bool = True) -> list[tuple[int, ...]]:
        """Token ids of completions; the end token is appended when they ``ended``."""
        encodings = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        tail = (self.end_id,) if ended else ()
        return [(*ids, *tail) for ids in encodings]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of a completion without its end token."""
        return self.tokenizer.decode([i for i in token_ids if i not in self.end_ids], skip_special_tokens=False)

    # -- forward -----------------------------------------------------------------------------------------------------

    def image_features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """Features of the pictures of prompts that have some; cached while the tower is frozen."""
        seen = [prompt for prompt in prompts if prompt.vision]
        if not seen:  # every decoded token comes by here
            return []
        made: dict[str, Features] = {}
        if self.vision_frozen:
            self._forget_features_of_other_weights()
            known = {prompt.key: self.features.get(prompt.key) for prompt in seen}
            made = {key: features for key, features in known.items() if features is not None}
        fresh = {prompt.key: prompt for prompt in seen if prompt.key not in made}
        if fresh:
            with_gradients = torch.is_grad_enabled() and not self.vision_frozen
            # What is kept may be trained on later, which tensors made in inference mode cannot be.
            with torch.inference_mode(False), torch.set_grad_enabled(with_gradients), self.computing():
                made.update(zip(fresh, self.family.features(list(fresh.values())), strict=True))
                for key in fresh if self.vision_frozen else ():
                    self.features.put(key, made[key])
        return [made[prompt.key] for prompt in seen]

    def _forget_features_of_other_weights(self) -> None:
        """An optimizer's step or a loaded state counts versions up (a write to ``.data`` goes unnoticed)."""
        parameters = [*self.family.tower_parameters().values(), *self.family.projector_parameters().values()]
        now = tuple(number for p in parameters for number in (id(p), p.data_ptr(), p._version))
        if now != self._features_made_by:
            self.features.clear()
            self._features_made_by = now

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """PyTorch's hook for moving or casting a module: features stay where they were made, so they are dropped."""
        self.features.clear()
        return super()._apply(fn, recurse)

    def text_hidden_states(
        self,
        token_ids: Tensor,
        position_ids: Tensor,
        plan: AttentionPlan,
        prompts: Sequence[Prompt] = (),
        of_prompts: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states, (B, T, hidden), of a layout that ``plan`` attends over.

        Args:
            token_ids: (B, T) int64.
            position_ids: (axes, B, T) int64.
            plan: Which position attends to which.
            prompts: Those whose placeholders are among the tokens, in order.
            of_prompts: (B, T) bool, True at tokens of prompts; None: all are.

        Raises:
            RuntimeError: If the model's layers did not ask the plan.
        """
        token_ids = token_ids.to(self.device)
        embeddings = self.core.get_input_embeddings()(token_ids)
        if self.shards is not None:
            embeddings = self.shards.join_pictures(self, embeddings, prompts)
        more: dict[str, Any] = {}
        if features := self.image_features(prompts):
            places = token_ids == self.image_id
            if of_prompts is not None:
                places &= of_prompts.to(self.device)
            features = [tuple(part.to(embeddings) for part in parts) for parts in features]
            pictures = torch.cat([first for first, *_ in features])
            embeddings = embeddings.masked_scatter(places[..., None], pictures)
            more = self.family.picture_inputs(features, places)
        text_model, before = self.family.text_model, plan.calls
        with self.computing():
            output = text_model(
                inputs_embeds=embeddings,
                position_ids=self.family.lay_out_positions(position_ids.to(self.device)),
                attention_mask=no_mask(self.device),
                attention_plan=plan,
                use_cache=False,
                **more,
            )
        if plan.calls - before != len(text_model.layers):
            raise RuntimeError(
                f"{plan.calls - before} of {len(text_model.layers)} layers used the attention plan: the model's "
                "attention implementation was changed, or this release of transformers does not hand the plan on"
            )
        return output.last_hidden_state

    def completion_states(self, rows: Sequence[Row]) -> Tensor:
        """The hidden states that predict the rows' completion tokens, (N, hidden), row by row; prompts shared."""
        packed = pack(rows)
        states = self.text_hidden_states(
            packed.token_ids[None],
            packed.position_ids[:, None],
            BranchPlan(packed.groups),
            packed.prompts,
            packed.of_prompts[None],
        )
        return states[0, packed.predictors.to(states.device)]

    def _plain_logits(self, rows: Sequence[Row]) -> Tensor:
        """The logits that predict the rows' completion tokens, (N, V), by the model's own forward pass, padded.

        Its own logits, not its last states times the output layer: models may scale or cap them.
        """
        ids = [torch.cat([row.prompt.token_ids, torch.tensor(row.completion, dtype=torch.long)]) for row in rows]
        token_ids = pad_sequence(ids, batch_first=True, padding_value=self.pad_id)
        attention_mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        inputs = self.family.plain_inputs([row.prompt for row in rows], token_ids)
        first = min(len(row.prompt.token_ids) for row in rows) - 1
        with self.computing():
            logits = self.core(
                input_ids=token_ids.to(self.device),
                attention_mask=attention_mask.to(self.device),
                use_cache=False,
                logits_to_keep=token_ids.shape[1] - first,
                **{name: value.to(self.device) for name, value in inputs.items()},
            ).logits[:, first - token_ids.shape[1] :]  # some models ignore `logits_to_keep`
        starts = [len(row.prompt.token_ids) - 1 - first for row in rows]
        parts = zip(logits, starts, rows, strict=True)
        return torch.cat([line[start : start + len(row.completion)] for line, start, row in parts])

    @property
    def output_weight(self) -> Tensor:
        """(V, hidden), the output layer's weight.

        Raises:
            TypeError: If the output layer is more than a matrix (an adapter on it, a bias).
        """
        head = self.core.get_output_embeddings()
        if type(head) is not torch.nn.Linear or head.bias is not None:
            raise TypeError(f"the output layer is a {type(head).__name__}, not a linear layer without bias")
        return head.weight

    def logits(self, states: Tensor) -> Tensor:
        """Next-token logits, (N, V), of hidden states; in float32 where the model computes in halves."""
        with self.computing():
            logits = self.core.get_output_embeddings()(states)
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits

    def logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0, spread: bool = False) -> TokenLogprobs:
        """Log-probabilities of every completion token under the model.

        Args:
            rows: B rows; those that hold the same prompt object share its encoding.
            temperature: Logits are divided by it, as in sampling.
            spread: Also return entropy and nucleus size at each position, at this temperature (without gradient).
        """
        lengths = torch.tensor([len(row.completion) for row in rows], device=self.device)
        return by_row(self._statistics(rows, temperature, spread), lengths)

    def _statistics(self, rows: Sequence[Row], temperature: float, spread: bool) -> TokenStatistics:
        """Of all completion tokens, row by row."""
        targets = torch.tensor([token for row in rows for token in row.completion], dtype=torch.long).to(self.device)
        if not self.shares_prompts:
            return statistics_of_logits(self._plain_logits(rows), targets, temperature=temperature, spread=spread)

        def compute() -> tuple[Tensor, Tensor | None, Tensor | None]:
            states, weight = self.completion_states(rows), self.output_weight
            # By hand: the backward pass makes logits again, without autocast.
            if self.setup.torch_dtype != torch.float32:
                states, weight = states.to(self.setup.torch_dtype), weight.to(self.setup.torch_dtype)
            found = token_statistics(states, weight, targets, temperature=temperature, spread=spread)
            return found.logprobs, found.entropy, found.nucleus

        return TokenStatistics(*self.one_pass(compute))

    def checkpoint_activations(self) -> None:
        """Keeps one activation a layer and makes the others again in the backward pass."""
        how = {"use_reentrant": False}
        if hasattr(self.core, "activation_checkpointing_enable"):  # its newer name
            self.core.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
        else:
            self.core.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)


def _size(parameter: Tensor) -> int:
    """Number of weights; quantised ones are packed, and know their shape."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()
