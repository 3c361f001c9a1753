"""Which loggers stages write to, beside the store of results."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import Checks, option

KINDS = ("csv", "wandb")


@option("logger", "logger")
@dataclass(kw_only=True)
class LoggerOptions:
    """Loggers.

    Attributes:
        kinds: Any of ``csv`` and ``wandb``; empty for none.
        project: W&B project.
        entity: W&B entity, or null for the user's default.
        tags: Tags of every W&B run, beside those that name the choices made.
        mode: ``auto`` (online when logged in and W&B can be reached, else offline), ``online``, ``offline`` or
            ``disabled``.
        init_timeout_s: Longest time that W&B may take to start a run, in seconds.
        finish_timeout_s: Longest time that it may take to send what is left when a run ends, in seconds.
    """

    kinds: list[str] = field(default_factory=list)
    project: str = "specs_lab"
    entity: str | None = None
    tags: list[str] = field(default_factory=list)
    mode: str = "auto"
    init_timeout_s: float = 30.0
    finish_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        checks = Checks().one_of("mode", self.mode, ("auto", "online", "offline", "disabled"))
        for kind in self.kinds:
            checks.one_of("kinds", kind, KINDS)
        checks.positive("init_timeout_s", self.init_timeout_s)
        checks.positive("finish_timeout_s", self.finish_timeout_s).done()
