"""A model behind an OpenAI-compatible endpoint as the teacher: it is sent the text and the picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from PIL import Image

from specs_lab.core.chat import Line
from specs_lab.core.endpoint import Endpoint, Reply, ask, at_once
from specs_lab.core.options import option
from specs_lab.core.pictures import laid_out
from specs_lab.core.seeding import derive_seed
from specs_lab.data.records import png_bytes
from specs_lab.data.teachers.base import AskedTeacher
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.problems.tasks import Task


@option("teacher", "endpoint")
@dataclass(kw_only=True)
class EndpointTeacher(Endpoint, AskedTeacher):
    """Samples from a model behind a server, one request a response. Replies that were cut off are dropped and counted.

    Attributes:
        max_tokens: Longest reply. The construction's ``max_new_tokens`` counts tokens of the study's own models and is
            not used here; its ``temperature`` is.
        send_seed: Send a seed along, which depends on the study's seed, the task and the number of the response. Some
            servers refuse it.
    """

    timeout_s: float = 300.0
    max_tokens: int = 2048
    send_seed: bool = True

    def __post_init__(self) -> None:
        self.limit_checks(self.address_checks()).done()

    @property
    def source(self) -> str:
        """The model's name."""
        return self.model

    def write(self, tasks: Sequence[Task], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        """Samples responses."""
        return self.ask([shop.question(task, "chosen") for task in tasks], shop, count, drawing)

    def ask(self, questions: Sequence[Question], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        """Asks each question ``count`` times.

        Raises:
            UserError: If the server cannot be asked, or does not answer with chat completions.
        """
        line = self.line("teacher")

        def one(request: tuple[Question, int], stop: Event) -> Reply:
            question, k = request
            # A reply costs money: none is asked for twice.
            name = f"teacher/{question.key}/{k}/{derive_seed(question.text)}"
            return Reply(*shop.recall(name, lambda: list(self._ask(line, question, k, drawing, stop))))

        requests = [(question, k) for question in questions for k in range(count)]
        replies = at_once(one, requests, self.max_concurrent, "teacher")
        shop.counts["cut/teacher"] += sum(reply.cut for reply in replies)
        groups = (replies[start : start + count] for start in range(0, len(replies), count))
        return [[reply.text.strip() for reply in group if not reply.cut] for group in groups]

    def _ask(self, line: Line, question: Question, k: int, drawing: Drawing, stop: Event) -> Reply:
        content: list[dict[str, Any]] = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": _data_url(part)}}
            for part in laid_out(question.text, question.images)
        ]
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": drawing.temperature,
            "max_tokens": self.max_tokens,
        }
        if self.send_seed:
            request["seed"] = derive_seed(question.key, k) % 2**31  # the APIs take 32 bits, some of them signed
        body = json.dumps(request).encode()
        return ask(line, lambda: line.post(body, stop), lambda reply: reply, "", "correct teacher.url or teacher.model")


def _data_url(image: Image.Image) -> str:
    return f"data:image/png;base64,{base64.b64encode(png_bytes(image)).decode()}"
