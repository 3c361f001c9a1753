"""Repositories of the Hugging Face hub, always at a commit: what was used can be told, and had again.

Nothing here runs code of a repository, and only the asked-for files are fetched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.secrets import without_secrets

RepoKind = Literal["model", "dataset"]
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_S = 20.0


def is_commit(revision: str) -> bool:
    """Whether a revision is the full name of a commit, which never changes what it means."""
    return _COMMIT.fullmatch(revision) is not None


@cache  # a process works with one state of a repository, also when a branch moves on meanwhile
def commit_of(repo: str, revision: str, kind: RepoKind) -> str:
    """The commit that a revision of a repository means: as the hub says, or with HF_HUB_OFFLINE=1 the local cache.

    Args:
        repo: ``owner/name``.
        revision: A branch, a tag or a commit.
        kind: What the repository holds.

    Returns:
        40 hexadecimal digits.

    Raises:
        UserError: If there is no such repository or revision, or nobody can be asked.
    """
    if is_commit(revision):
        return revision
    from huggingface_hub import HfApi

    with _explained(repo, revision):
        cached = _cached_commit(repo, revision, kind)
        if cached is not None and _is_offline():
            return cached
        found = HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=_TIMEOUT_S)
        if found.sha is None:
            raise UserError([Fault(repo, f"the hub names no commit of '{revision}'", "name a commit as its revision")])
        return found.sha


def snapshot(repo: str, commit: str, kind: RepoKind, patterns: Iterable[str]) -> Path:
    """The folder with the files of a repository at a commit; those that are missing are downloaded.

    Args:
        repo: ``owner/name``.
        commit: The commit.
        kind: What the repository holds.
        patterns: Which files, e.g. ``("*.json", "*.safetensors")``.

    Raises:
        UserError: If they cannot be had.
    """
    import huggingface_hub

    with _explained(repo, commit):
        download = cast("Any", huggingface_hub).snapshot_download  # its types are partial
        return Path(download(repo, repo_type=kind, revision=commit, allow_patterns=sorted(patterns)))


def _is_offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _cached_commit(repo: str, revision: str, kind: RepoKind) -> str | None:
    """What the revision meant when the repository was last downloaded, if it was."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    ref = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=kind) / "refs" / revision
    return ref.read_text(encoding="ascii").strip() if ref.is_file() else None


def _transport_errors() -> tuple[type[Exception], ...]:
    """What is raised when nobody answers: the hub's library has changed its own library for HTTP between releases."""
    clients = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
    return tuple(cast("Any", client).TransportError for client in clients)


@contextmanager
def _explained(repo: str, revision: str) -> Generator[None]:
    """Says of the hub's errors what they mean for who named the repository."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    local = "with a network `hf download` it, then set HF_HUB_OFFLINE=1 where there is none; or name a copy by `path`"
    try:
        yield
    except GatedRepoError as error:
        fix = "accept its terms on huggingface.co and log in with `hf auth login`"
        raise UserError([Fault(repo, "is open only to those who accepted its terms", fix)]) from error
    except RevisionNotFoundError as error:
        raise UserError([Fault(repo, f"has no revision '{revision}'", "name a branch, a tag or a commit")]) from error
    except RepositoryNotFoundError as error:
        raise UserError([Fault(repo, "there is no such repository on the hub", "check its name")]) from error
    except HFValidationError as error:
        raise UserError([Fault(repo, "is no name of a repository", "write owner/name")]) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        what = f"revision '{revision}' is not in the local cache, and the hub cannot be reached"
        raise UserError([Fault(repo, what, local)]) from error
    except (HfHubHTTPError, *_transport_errors()) as error:
        said = without_secrets(" ".join(str(error).split()))[:200]
        raise UserError([Fault(repo, f"the hub cannot be asked ({said})", local)]) from error
