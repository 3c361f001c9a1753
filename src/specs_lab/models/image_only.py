"""The families' processors without their video halves, which need torchvision; pictures and text are as in the whole.

Each is the stock class itself with another list of parts: how a picture becomes numbers, and how its placeholder in the
text is expanded, is transformers' own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import (
    AutoProcessor,
    Gemma3Processor,
    Idefics3Processor,
    InternVLProcessor,
    LlavaOnevisionProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
    SmolVLMProcessor,
)
from transformers.processing_utils import ProcessorMixin


class ImageOnlyMixin(ProcessorMixin):
    """Leaves the video processor out; the stock class's constructor does the rest."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts that are there; transformers asks for them when it constructs, saves and loads."""
        return ["image_processor", "tokenizer"]


class ImageOnlyQwen2VLProcessor(ImageOnlyMixin, Qwen2VLProcessor):
    """Qwen2-VL's."""


class ImageOnlyQwen2_5_VLProcessor(ImageOnlyMixin, Qwen2_5_VLProcessor):  # noqa: N801 - named after the stock class
    """Qwen2.5-VL's. The shipped checkpoints name it, so ``AutoProcessor`` finds it once this module is imported."""


class ImageOnlyQwen3VLProcessor(ImageOnlyMixin, Qwen3VLProcessor):
    """Qwen3-VL's."""


class ImageOnlyInternVLProcessor(ImageOnlyMixin, InternVLProcessor):
    """InternVL's."""


class ImageOnlyLlavaOnevisionProcessor(ImageOnlyMixin, LlavaOnevisionProcessor):
    """LLaVA-OneVision's."""


class ImageOnlySmolVLMProcessor(ImageOnlyMixin, SmolVLMProcessor):
    """SmolVLM's, whose own constructor insists on `num2words`, which only videos need."""

    def __init__(
        self,
        image_processor: Any,
        tokenizer: Any,
        image_seq_len: int = 169,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        self.fake_image_token = getattr(tokenizer, "fake_image_token", "<fake_token_around_image>")
        self.image_token = getattr(tokenizer, "image_token", "<image>")
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.end_of_utterance_token = getattr(tokenizer, "end_of_utterance_token", "<end_of_utterance>")
        self.global_image_token = getattr(tokenizer, "global_image_token", "<global-img>")
        self.video_token = getattr(tokenizer, "video_token", "<video>")
        self.image_seq_len = image_seq_len
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> Any:
        """Without the settings of videos, which the stock class always passes on."""
        return ProcessorMixin.apply_chat_template(self, *args, **kwargs)


AutoProcessor.register(Qwen2_5_VLConfig, ImageOnlyQwen2_5_VLProcessor, exist_ok=True)


@dataclass(frozen=True)
class Parts:
    """Which classes process a family's pictures and text.

    Attributes:
        processor: What is used here.
        stock: Name of the class of transformers that it stands for.
        pictures: Name of the picture processor of transformers that needs torchvision; the other's ends in ``Pil``.
        video: Name of the video processor; None if the family has none.
    """

    processor: type[ProcessorMixin]
    stock: str
    pictures: str
    video: str | None


_QWEN = "Qwen2VLImageProcessor"
PARTS: dict[str, Parts] = {
    "qwen2_vl": Parts(ImageOnlyQwen2VLProcessor, "Qwen2VLProcessor", _QWEN, "Qwen2VLVideoProcessor"),
    "qwen2_5_vl": Parts(ImageOnlyQwen2_5_VLProcessor, "Qwen2_5_VLProcessor", _QWEN, "Qwen2VLVideoProcessor"),
    "qwen3_vl": Parts(ImageOnlyQwen3VLProcessor, "Qwen3VLProcessor", _QWEN, "Qwen3VLVideoProcessor"),
    "idefics3": Parts(Idefics3Processor, "Idefics3Processor", "Idefics3ImageProcessor", None),
    "smolvlm": Parts(ImageOnlySmolVLMProcessor, "SmolVLMProcessor", "SmolVLMImageProcessor", "SmolVLMVideoProcessor"),
    "internvl": Parts(
        ImageOnlyInternVLProcessor, "InternVLProcessor", "GotOcr2ImageProcessor", "InternVLVideoProcessor"
    ),
    "gemma3": Parts(Gemma3Processor, "Gemma3Processor", "Gemma3ImageProcessor", None),
    "llava_onevision": Parts(
        ImageOnlyLlavaOnevisionProcessor,
        "LlavaOnevisionProcessor",
        "LlavaOnevisionImageProcessor",
        "LlavaOnevisionVideoProcessor",
    ),
}
"""By ``model_type``."""


def parts_of(processor: Any) -> Parts | None:
    """The parts of a processor that is one of these; None of any other."""
    return next((parts for parts in PARTS.values() if type(processor) is parts.processor), None)
