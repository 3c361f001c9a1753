"""How a prompt asks for the answer's form: wordings (one axis of shift) and format requests (another).

Names of the wordings are data that configurations refer to; which of them are in or out of distribution is decided
there, not here.
"""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.rewards.format import FormatName


@dataclass(frozen=True)
class Instruction:
    """A wording of the format request.

    Attributes:
        name: The instruction's name.
        text: Appended to the question; may be empty.
        format: The format that counts as followed.
    """

    name: str
    text: str
    format: FormatName = "think_answer"

    def ask(self, question: str) -> str:
        """The full text of the user's turn."""
        return f"{question} {self.text}" if self.text else question


_R1 = (
    "First think about the reasoning process as an internal monologue, then give the final answer. "
    "Write the reasoning process between <think> </think> tags and the answer between <answer> </answer> tags: "
    "<think> reasoning process here </think> <answer> answer here </answer>"
)
_FIRST_THEN = (
    "Look at the picture closely and solve the problem step by step. Everything you consider goes between <think> and "
    "</think>; what you conclude, as briefly as it can be said, goes between <answer> and </answer>."
)
_BOXED = (
    "First think about the reasoning process as an internal monologue, written between <think> </think> tags. "
    "Then give the final answer inside \\boxed{}."
)

INSTRUCTIONS: dict[str, Instruction] = {
    item.name: item
    for item in (
        Instruction("tags", "Use <think> </think> and <answer> </answer> tags."),
        Instruction("then_result", "Reason in <think> </think>, then result in <answer> </answer>."),
        Instruction("template", "Format: <think> steps </think> <answer> result </answer>"),
        Instruction("in_words", "Show work between think tags and finish with answer tags."),
        Instruction("bare", ""),
        Instruction("r1", _R1),
        Instruction("r1_first_then", _FIRST_THEN),
        Instruction("boxed", _BOXED, "think_boxed"),
        Instruction("alternative", "Use <steps> </steps> and <final> </final> tags.", "steps_final"),
    )
}
