"""Models of the Hugging Face hub, of any supported family and size; each has a YAML file of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.options import Checks, option
from specs_lab.models.sources.base import ModelOptions

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md")
"""What is fetched of a repository: weights that run no code when they are read, settings, tokenizer, chat template, and
the card, which has the licence."""
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@option("model", "hub")
@dataclass(kw_only=True)
class HubModel(ModelOptions):
    """A checkpoint on the hub; no code of its repository is run.

    Attributes:
        repo: Its repository, ``owner/name``.
        revision: A branch, a tag or a commit. Results are kept apart by the commit that it means.
        path: A folder that holds a copy of the repository, to be used instead.
    """

    repo: str = "???"
    revision: str = "main"
    path: str = ""

    def checks(self) -> Checks:
        """The checks of all settings."""
        return (
            super()
            .checks()
            .that(bool(_REPO.fullmatch(self.repo)), "repo", f"'{self.repo}' is no repository", "write owner/name")
            .that(bool(self.revision), "revision", "is empty", "name a branch, a tag or a commit")
            .that(
                not self.path or Path(self.path).is_dir(),
                "path",
                f"there is no folder '{self.path}'",
                "name the folder of a local copy, or leave it empty",
            )
        )

    @property
    def folder(self) -> Path:
        """The checkpoint folder; downloaded unless it is in the local cache.

        Raises:
            UserError: If it cannot be had, or holds no weights as safetensors.
        """
        folder = Path(self.path) if self.path else _downloaded(self.repo, self._commit())
        for pattern in ("config.json", "*.safetensors"):
            if not any(folder.glob(pattern)):
                what = f"'{self.path or self.repo}' has no {pattern}"
                raise UserError([Fault("model.path" if self.path else "model.repo", what, "use another checkpoint")])
        return folder

    def identity(self) -> Mapping[str, Any] | None:
        """Repository and commit; None of a local copy, whose files are hashed."""
        return None if self.path else {"repo": self.repo, "commit": self._commit()}

    def _commit(self) -> str:
        from specs_lab.core.hub import commit_of

        return commit_of(self.repo, self.revision, "model")


@cache  # the hub is asked for every file, and a study asks for the folder at every stage
def _downloaded(repo: str, commit: str) -> Path:
    from specs_lab.core.hub import snapshot

    return snapshot(repo, commit, "model", _FILES)
