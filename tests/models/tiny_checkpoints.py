"""Tiny random checkpoints of every family, as folders that look like those of the hub.

Each has what its family's repositories have: the family's own tokenizer class with its special tokens, its chat
template, the real picture processor's configuration under the stock class names, a processor configuration where the
family has one, and a video processor's configuration beside. Nothing in them names anything of specs_lab.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

_TEXTS = (
    "What is the area of the triangle? <think> 3 * 4 / 2 = 6 </think> <answer> 6 </answer> A picture shows two",
) * 4
_TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
}
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QWEN_VISION = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
_QWEN_NAMES = {"eos": "<|im_end|>", "pad": "<|endoftext|>", "unk": "<|endoftext|>"}

_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_IDEFICS_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_INTERNVL_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}{{ '<start_of_image>' }}{% elif item['type'] == 'text' %}"
    "{{ item['text'] | trim }}{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_LLAVA_TEMPLATE = (  # pictures before all text, wherever they stand in the turn
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + content['text'] }}"
    "{% endfor %}{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """What a family's folder is made of.

    Attributes:
        model: Name of the model class; its configuration class is named alike.
        tokenizer: Name of the tokenizer class.
        specials: Special tokens.
        names: Roles of special tokens: eos, pad, bos, unk.
        attributes: Special tokens that the tokenizer has as attributes of these names.
        template: The chat template.
        pictures: Name of the picture processor without torchvision, and its settings.
        processor: Name of the processor class.
        settings: What the processor's configuration holds beside.
        video: Name of the video processor; None if the family has none.
    """

    model: str
    tokenizer: str
    specials: tuple[str, ...]
    names: dict[str, str]
    template: str
    pictures: tuple[str, dict[str, Any]]
    processor: str
    video: str | None
    attributes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def _qwen(model: str, processor: str, video: str) -> Recipe:
    size = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    return Recipe(
        model,
        "Qwen2Tokenizer",
        (*_QWEN, *_QWEN_VISION),
        _QWEN_NAMES,
        _QWEN_TEMPLATE,
        ("Qwen2VLImageProcessorPil", {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2, "size": size}),
        processor,
        video,
    )


_ROWS = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
_IDEFICS_SPECIALS = ("<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>")
_IDEFICS_NAMES = {"bos": "<|im_start|>", "eos": "<end_of_utterance>", "pad": "<|im_end|>", "unk": "<|im_end|>"}
_TILE = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}
_INTERNVL_ATTRIBUTES = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
_GEMMA_ATTRIBUTES = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
}

RECIPES: dict[str, Recipe] = {
    "qwen2_vl": _qwen("Qwen2VL", "Qwen2VLProcessor", "Qwen2VLVideoProcessor"),
    "qwen2_5_vl": _qwen("Qwen2_5_VL", "Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor"),
    "qwen3_vl": _qwen("Qwen3VL", "Qwen3VLProcessor", "Qwen3VLVideoProcessor"),
    "idefics3": Recipe(
        "Idefics3",
        "GPT2Tokenizer",
        (*_IDEFICS_SPECIALS, "<global-img>", *_ROWS),
        _IDEFICS_NAMES,
        _IDEFICS_TEMPLATE,
        ("Idefics3ImageProcessorPil", _TILE),
        "Idefics3Processor",
        None,
        settings={"image_seq_len": 4},
    ),
    "smolvlm": Recipe(
        "SmolVLM",
        "GPT2Tokenizer",
        (*_IDEFICS_SPECIALS, "<global-img>", *_ROWS),
        _IDEFICS_NAMES,
        _IDEFICS_TEMPLATE,
        ("SmolVLMImageProcessorPil", _TILE),
        "SmolVLMProcessor",
        "SmolVLMVideoProcessor",
        attributes={"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"},
        settings={"image_seq_len": 4},
    ),
    "internvl": Recipe(
        "InternVL",
        "Qwen2Tokenizer",
        (*_QWEN, *_INTERNVL_ATTRIBUTES.values()),
        _QWEN_NAMES,
        _INTERNVL_TEMPLATE,
        ("GotOcr2ImageProcessorPil", {"size": {"height": 16, "width": 16}, "crop_to_patches": True, "max_patches": 4}),
        "InternVLProcessor",
        "InternVLVideoProcessor",
        attributes=_INTERNVL_ATTRIBUTES,
        settings={"image_seq_length": 4},
    ),
    "gemma3": Recipe(
        "Gemma3",
        "GemmaTokenizer",
        ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", *_GEMMA_ATTRIBUTES.values()),
        {"eos": "<eos>", "pad": "<pad>", "bos": "<bos>", "unk": "<unk>"},
        _GEMMA_TEMPLATE,
        ("Gemma3ImageProcessorPil", {"size": {"height": 16, "width": 16}}),
        "Gemma3Processor",
        None,
        attributes=_GEMMA_ATTRIBUTES,
        settings={"image_seq_length": 4},
    ),
    "llava_onevision": Recipe(
        "LlavaOnevision",
        "Qwen2Tokenizer",
        (*_QWEN, "<image>", "<video>"),
        _QWEN_NAMES,
        _LLAVA_TEMPLATE,
        (
            "LlavaOnevisionImageProcessorPil",
            {"size": {"height": 16, "width": 16}, "image_grid_pinpoints": [[16, 16], [16, 32], [32, 16], [32, 32]]},
        ),
        "LlavaOnevisionProcessor",
        "LlavaOnevisionVideoProcessor",
        settings={"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
    ),
}
"""By ``model_type``."""


def tiny_checkpoint(family: str, folder: Path, seed: int = 0) -> Path:
    """Writes a checkpoint of a family (a key of :data:`RECIPES`) with random weights of a seed; returns the folder."""
    recipe = RECIPES[family]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(recipe)
    config = _config(family, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(hf, f"{recipe.model}ForConditionalGeneration")(config)
        if family == "gemma3":  # made as zeros, so that pictures would all look alike
            model.model.multi_modal_projector.mm_input_projection_weight.data.normal_(std=0.2)
    if family == "gemma3":  # ends turns with a token of its own, as its repositories do
        model.generation_config.eos_token_id = [config.text_config.eos_token_id, _id(tokenizer, "<end_of_turn>")]
    else:
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    _write_processor(recipe, tokenizer, folder)
    return folder


def _write_processor(recipe: Recipe, tokenizer: Any, folder: Path) -> None:
    """As the hub's repositories have it: every part in a file of its own, stock names in all of them."""
    tokenizer._set_processor_class(recipe.processor)
    tokenizer.save_pretrained(folder)
    name, settings = recipe.pictures
    pictures = getattr(hf, name)(**settings)
    pictures.save_pretrained(folder)
    written = json.loads((folder / "preprocessor_config.json").read_text())
    written |= {"processor_class": recipe.processor, "image_processor_type": name.removesuffix("Pil")}
    _write(folder / "preprocessor_config.json", written)
    if recipe.settings:
        _write(folder / "processor_config.json", {"processor_class": recipe.processor, **recipe.settings})
    if recipe.video:
        video = {"video_processor_type": recipe.video, "processor_class": recipe.processor, **settings}
        _write(folder / "video_preprocessor_config.json", video)
    (folder / "chat_template.jinja").write_text(recipe.template)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _tokenizer(recipe: Recipe) -> Any:
    """The family's own tokenizer class over bytes: any text can be tokenised and read back."""
    names: dict[str, Any] = {f"{role}_token": token for role, token in recipe.names.items()}
    more = [token for token in recipe.specials if token not in (*recipe.names.values(), *recipe.attributes.values())]
    if recipe.tokenizer == "GemmaTokenizer":
        vocab, merges = _byte_fallback(recipe.specials)
    else:
        vocab, merges = _byte_level(recipe.specials)
    if recipe.attributes:
        names["model_specific_special_tokens"] = dict(recipe.attributes)
    return getattr(hf, recipe.tokenizer)(
        vocab=vocab, merges=merges, **names, extra_special_tokens=more, padding_side="left"
    )


def _byte_level(specials: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE with special tokens behind."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(_TEXTS, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False))
    learned = json.loads(bpe.to_str())["model"]
    vocab = dict(learned["vocab"])
    vocab |= {token: len(vocab) + i for i, token in enumerate(specials)}
    return vocab, [tuple(pair) for pair in learned["merges"]]


def _byte_fallback(specials: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Characters as they are, bytes for all others, as Gemma's tokenizer has it."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), "\n", "▁", *letters]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, []


def _id(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


def _config(family: str, tokenizer: Any) -> Any:
    text = _TEXT | {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return _CONFIGS[family](text, tokenizer)


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {name: _id(tokenizer, token) for name, token in names.items()}


def _qwen2_vl(text: dict[str, Any], tokenizer: Any) -> Any:
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    return hf.Qwen2VLConfig(
        text_config=text | _MROPE, vision_config=vision, tie_word_embeddings=True, **_qwen_ids(tokenizer)
    )


def _qwen2_5_vl(text: dict[str, Any], tokenizer: Any) -> Any:
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 48}
    vision |= {"patch_size": 4, "window_size": 16, "fullatt_block_indexes": [1]}
    return hf.Qwen2_5_VLConfig(
        text_config=text | _MROPE, vision_config=vision, tie_word_embeddings=False, **_qwen_ids(tokenizer)
    )


def _qwen3_vl(text: dict[str, Any], tokenizer: Any) -> Any:
    vision = {"depth": 3, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 48}
    vision |= {"patch_size": 4, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
    return hf.Qwen3VLConfig(
        text_config=text | _MROPE | {"head_dim": 16},
        vision_config=vision,
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )


_VIT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
_VIT |= {"image_size": 16, "patch_size": 4}


def _idefics3(text: dict[str, Any], tokenizer: Any) -> Any:
    return hf.Idefics3Config(
        text_config={"model_type": "llama", **text},
        vision_config=_VIT,
        scale_factor=2,
        image_token_id=_id(tokenizer, "<image>"),
        tie_word_embeddings=False,
    )


def _smolvlm(text: dict[str, Any], tokenizer: Any) -> Any:
    return hf.SmolVLMConfig(
        text_config={"model_type": "llama", **text},
        vision_config=_VIT,
        scale_factor=2,
        image_token_id=_id(tokenizer, "<image>"),
        tie_word_embeddings=False,
    )


def _internvl(text: dict[str, Any], tokenizer: Any) -> Any:
    return hf.InternVLConfig(
        text_config={"model_type": "qwen2", **text},
        vision_config=_VIT | {"image_size": [16, 16], "patch_size": [4, 4]},
        image_token_id=_id(tokenizer, "<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )


def _gemma3(text: dict[str, Any], tokenizer: Any) -> Any:
    window = {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16}
    kinds = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    return hf.Gemma3Config(
        text_config=text | window | kinds,
        vision_config={**_VIT, "vision_use_head": False},
        mm_tokens_per_image=4,
        image_token_id=_id(tokenizer, "<image_soft_token>"),
        boi_token_id=_id(tokenizer, "<start_of_image>"),
        eoi_token_id=_id(tokenizer, "<end_of_image>"),
    )


def _llava_onevision(text: dict[str, Any], tokenizer: Any) -> Any:
    return hf.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **_VIT},
        image_token_id=_id(tokenizer, "<image>"),
        video_token_id=_id(tokenizer, "<video>"),
        image_grid_pinpoints=[[16, 16], [16, 32], [32, 16], [32, 32]],
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )


_CONFIGS = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "llava_onevision": _llava_onevision,
}
