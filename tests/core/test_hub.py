"""What a user is told of a hub that cannot be asked, and what the local cache is good for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from specs_lab.core.hub import is_commit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def ask(home: Path, repo: str, revision: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Asks for a commit in a process of its own: the hub's library reads its environment when it is imported."""
    code = "import sys; from specs_lab.core.hub import commit_of; print(commit_of(*sys.argv[1:], 'dataset'))"
    return subprocess.run(
        [sys.executable, "-c", code, repo, revision],
        env={**os.environ, "HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A cache that knows what ``main`` of one dataset means."""
    refs = tmp_path / "hub" / "datasets--some--data" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    return tmp_path


def test_a_commit_is_taken_as_it_is(home):
    assert is_commit(COMMIT)
    assert not is_commit("main")
    assert ask(home, "never/heard", COMMIT).stdout.strip() == COMMIT


def test_offline_the_cache_says_what_a_branch_means(home):
    assert ask(home, "some/data", "main", HF_HUB_OFFLINE="1").stdout.strip() == COMMIT


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "is not in the local cache, and the hub cannot be reached"),
        ({"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be asked"),
    ],
)
def test_a_hub_out_of_reach_is_a_user_error(home, environment, said):
    done = ask(home, "other/data", "main", **environment)
    assert done.returncode
    last = [line for line in done.stderr.splitlines() if "UserError" in line]
    assert last
    assert said in done.stderr
    assert "or name a copy by `path`" in done.stderr


def test_what_is_no_repository_is_a_user_error(home):
    done = ask(home, "a/b/c", "main", HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9")
    assert "is no name of a repository" in done.stderr
