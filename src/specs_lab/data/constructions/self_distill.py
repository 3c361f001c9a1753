"""Self-distilled preference pairs (SPECS, arXiv 2510.25801): chosen from the zero model, rejected from the base."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import Checks, option

POLLUTIONS = ("no_tags", "no_answer_tags", "no_think_tags", "plain_answer", "misplaced_tags")
OWN = "own"
"""What a rejected side is called that misses the format without any pollution."""


@option("data", "self_distill")
@dataclass(kw_only=True)
class SelfDistillOptions:
    """Self-distilled pairs.

    Attributes:
        pairs: How many pairs to make.
        coupling: ``decoupled``: both sides answer correctly and differ in form only. ``coupled``: the rejected side
            answers wrongly as well. The base model's response is judged before its form is spoilt: of some pollutions
            (``no_tags``) no grader could tell the answer any more.
        rejected_form: ``polluted`` (the paper's way): its form is spoilt in one of the ways of ``pollutions``. ``own``:
            it stays as the base model wrote it, and only responses that miss the format by themselves are used.
        pollutions: Relative weight of each way of spoiling the rejected side's form.
        supplement_format: Complete the form of correct chosen responses that lack it, instead of dropping them.
        check_consistency: Drop chosen responses whose reasoning does not end in their answer, see
            :func:`specs_lab.data.text.consistent`.
        chosen_samples: Responses sampled from the chosen model for one prompt.
        rejected_samples: Responses sampled from the rejected model for one prompt.
        max_prompts_per_pair: Give up when more prompts than this, per wanted pair, have been tried.
        temperature: Of sampling.
        max_new_tokens: Longest response.
        mixture: Cells that prompts come from.
    """

    pairs: int = 256
    coupling: str = "decoupled"
    rejected_form: str = "polluted"
    pollutions: dict[str, float] = field(default_factory=lambda: dict.fromkeys(POLLUTIONS, 1.0))
    supplement_format: bool = True
    check_consistency: bool = True
    chosen_samples: int = 2
    rejected_samples: int = 4
    max_prompts_per_pair: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 48
    mixture: list[str] = field(default_factory=lambda: ["id"])

    def __post_init__(self) -> None:
        unused = self.rejected_form == OWN and self.pollutions != dict.fromkeys(POLLUTIONS, 1.0)
        checks = (
            Checks()
            .at_least("pairs", self.pairs, 1)
            .one_of("coupling", self.coupling, ("decoupled", "coupled"))
            .one_of("rejected_form", self.rejected_form, ("polluted", OWN))
            .that(not unused, "pollutions", f"is not used with rejected_form={OWN}", "leave it out")
            .at_least("chosen_samples", self.chosen_samples, 1)
            .at_least("rejected_samples", self.rejected_samples, 1)
            .at_least("max_prompts_per_pair", self.max_prompts_per_pair, 1)
            .positive("temperature", self.temperature)
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .that(bool(self.mixture), "mixture", "no cell is named", "name at least one cell, e.g. [id]")
            .that(
                sum(self.pollutions.values()) > 0,
                "pollutions",
                "no pollution has a weight",
                f"give a weight > 0 to one of: {', '.join(POLLUTIONS)}",
            )
        )
        for name, weight in self.pollutions.items():
            checks.one_of("pollutions", name, POLLUTIONS).at_least(f"pollutions.{name}", weight, 0)
        checks.done()
