"""Keeps secrets out of what is written down: keys that the environment holds, tokens, credentials within URLs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_NAME = re.compile(
    r"(?:^|_)(?:(?:API|ACCESS|PRIVATE|SECRET)?_?KEYS?|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(?:_|$)",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"_(?:FILE|PATH|DIR|ENV|URL|NAME|ID|TYPE)$", re.IGNORECASE)
_PUBLIC = re.compile(r"(?:^|_)PUBLIC_", re.IGNORECASE)
_SHORTEST = 8
_LONG = 16
_LONGEST_PATH = 1000
_CREDENTIALS = re.compile(r"(?<=://)(?!\*\*\*@)[^\s/?#'\"\\@]+@")
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])"
    r"(?:sk-[A-Za-z0-9_-]*[A-Za-z0-9]{20}[A-Za-z0-9_-]*"  # not sk-learn-experiments-2026
    r"|hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|AKIA[0-9A-Z]{16})"
)
_READS = re.compile(r"\$\{\s*oc\.env\s*:\s*['\"]?(\w+)")
_HIDDEN = "***"


def is_secret(variable: str) -> bool:
    """Whether a variable of the environment holds a secret, by its name: ``WANDB_API_KEY``, not ``TOKEN_FILE``."""
    return bool(_NAME.search(variable)) and not _ABOUT.search(variable) and not _PUBLIC.search(variable)


def secret_in(text: str, environment: Mapping[str, str] | None = None) -> str | None:
    """What is secret about a text, in words that fit behind its name; None if nothing is.

    Args:
        text: The text.
        environment: The variables whose values are looked for; by default this process's.
    """
    if _CREDENTIALS.search(text):
        return "holds credentials in a URL"
    for name in _READS.findall(text):
        if is_secret(name):
            return f"reads the secret of the variable {name}"
    for name, value in _secrets(environment):
        if value.search(text):
            return f"holds the secret of the variable {name}"
    return "looks like a secret token" if _TOKENS.search(text) else None


def without_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text that others wrote, such as an error's, with ``***`` in the place of every secret that can be told.

    Args:
        text: The text.
        environment: The variables whose values are looked for; by default this process's.
    """
    for _, value in _secrets(environment):
        text = value.sub(_HIDDEN, text)
    return _TOKENS.sub(_HIDDEN, _CREDENTIALS.sub(f"{_HIDDEN}@", text))


def _secrets(environment: Mapping[str, str] | None) -> Iterator[tuple[str, re.Pattern[str]]]:
    """(name, what finds its value) of the secrets in the environment.

    What is very short is no key, and may well be part of a word; what is short is looked for as a word of its own. The
    path of a file, as in ``SSH_KEY=~/.ssh/id_rsa``, is no secret either.
    """
    for name, value in (os.environ if environment is None else environment).items():
        value = value.strip()
        if not is_secret(name) or len(value) < _SHORTEST or _is_path(value):
            continue
        found = re.escape(value)
        yield name, re.compile(found if len(value) >= _LONG else rf"(?<![A-Za-z0-9]){found}(?![A-Za-z0-9])")


def _is_path(value: str) -> bool:
    """Whether a text names a file or folder that is there."""
    return value.startswith(("/", "~/")) and len(value) < _LONGEST_PATH and Path(value).expanduser().exists()
