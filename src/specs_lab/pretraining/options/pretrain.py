"""How a base checkpoint is pretrained."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import Checks, option
from specs_lab.problems.base import FAMILIES


@dataclass(kw_only=True)
class CorpusOptions:
    """Mixture of the base model's pretraining corpus.

    Attributes:
        familiar_families: Families where, with the first instruction, the target format is common.
        family_weights: Relative frequency of families that are harder to learn; 1 for those not named.
        target_rate_familiar: Share of responses in the target format on familiar prompts.
        target_rate_elsewhere: The same on all other prompts.
        alternative_rate: Share of responses in the alternative format where it is asked for.
        caption_rate: Share of examples that list what the picture shows instead of answering a question.
        first_instruction_rate: Share of prompts with the first instruction; the others share the rest equally.
        plain_style_rate: Share of pictures in the plain style; the others share the rest equally.
    """

    familiar_families: list[str] = field(default_factory=lambda: ["count", "bar_sum", "digits"])
    family_weights: dict[str, float] = field(
        default_factory=lambda: {
            **dict.fromkeys(("count", "add", "compare", "digits", "expression"), 2.0),
            **dict.fromkeys(("locate", "arrow", "later"), 1.5),
        }
    )
    target_rate_familiar: float = 0.35
    target_rate_elsewhere: float = 0.01
    alternative_rate: float = 0.25
    caption_rate: float = 0.30
    first_instruction_rate: float = 0.40
    plain_style_rate: float = 0.70


@dataclass(kw_only=True)
class VisionOptions:
    """Settings of the vision phase.

    Attributes:
        steps: Optimizer steps.
        batch_size: Pictures a step.
        matrix_lr: Peak Muon learning rate of the weight matrices.
        other_lr: Peak AdamW learning rate of everything else.
        weight_decay: Decoupled weight decay of both.
        warmup_steps: Steps of linear warm-up before the cosine decay to 2 % of the peak.
        output_scale: The tower's output is scaled by this afterwards, to the size of text embeddings.
    """

    steps: int = 2600
    batch_size: int = 32
    matrix_lr: float = 0.02
    other_lr: float = 2e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    output_scale: float = 0.2


@dataclass(kw_only=True)
class LanguageOptions:
    """Settings of the language phase.

    Attributes:
        steps: Optimizer steps.
        batch_size: Examples a step.
        micro_batch_size: Examples in one forward pass; 16 is fastest on a CPU.
        matrix_lr: Peak Muon learning rate of the weight matrices.
        other_lr: Peak AdamW learning rate of embeddings, norms and biases.
        weight_decay: Decoupled weight decay of both.
        warmup_steps: Steps of linear warm-up before the cosine decay.
    """

    steps: int = 5200
    batch_size: int = 32
    micro_batch_size: int = 16
    matrix_lr: float = 0.02
    other_lr: float = 3e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100


@option("pretrain", "pretrain")
@dataclass(kw_only=True)
class PretrainOptions:
    """Pretraining of an embedded base model.

    Attributes:
        size: Name of the embedded size.
        base_seed: Seed of the initialisation and of the corpus; different seeds give independent base models.
        tokenizer_texts: Examples that the tokenizer is trained on.
        vocab_size: Tokens, special ones included.
        init_std: Standard deviation of the initial weights.
        evaluation_problems: Problems of each family that the model card's accuracy is measured on.
        corpus: The mixture of the corpus.
        vision: The vision phase.
        language: The language phase.
    """

    size: str = "small"
    base_seed: int = 0
    tokenizer_texts: int = 6000
    vocab_size: int = 512
    init_std: float = 0.06
    evaluation_problems: int = 200
    corpus: CorpusOptions = field(default_factory=CorpusOptions)
    vision: VisionOptions = field(default_factory=VisionOptions)
    language: LanguageOptions = field(default_factory=LanguageOptions)

    def __post_init__(self) -> None:
        corpus, vision, language = self.corpus, self.vision, self.language
        checks = Checks().one_of("size", self.size, ("tiny", "small"))
        checks.at_least("tokenizer_texts", self.tokenizer_texts, 1).at_least("vocab_size", self.vocab_size, 265)
        checks.positive("init_std", self.init_std).at_least("evaluation_problems", self.evaluation_problems, 1)
        for name, rate in vars(corpus).items():
            if name.endswith("_rate") or "_rate_" in name:
                checks.share(f"corpus.{name}", rate)
        for name in [*corpus.familiar_families, *corpus.family_weights]:
            checks.one_of("corpus", name, tuple(FAMILIES.names()))
        for where, phase in (("vision", vision), ("language", language)):
            checks.at_least(f"{where}.steps", phase.steps, 1).at_least(f"{where}.batch_size", phase.batch_size, 1)
            checks.positive(f"{where}.matrix_lr", phase.matrix_lr).positive(f"{where}.other_lr", phase.other_lr)
        checks.at_least("language.micro_batch_size", language.micro_batch_size, 1).done()
