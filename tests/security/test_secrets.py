"""Keys and credentials reach no file and no terminal: not by mistake, and not by somebody else's configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from specs_lab.cli.composition import composer
from specs_lab.cli.preflight import find_faults
from specs_lab.cli.secrecy import argument_faults
from specs_lab.core.secrets import is_secret, secret_in, without_secrets

CANARY = "canary-4f1d9c77e2"
VARIABLES = (
    "HF_TOKEN",
    "WANDB_API_KEY",
    "OPENAI_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "JUDGE_KEY",
    "DB_PASSWORD",
)
ENVIRONMENT = {name: f"{CANARY}-{name.lower()}-0123456789abcdef" for name in VARIABLES}
URL = f"https://user:{CANARY}@host.example"


def study(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line with canaries for secrets."""
    return subprocess.run(
        [sys.executable, "-m", "specs_lab.run", *arguments, f"hydra.run.dir={folder / 'job'}"],
        env={**os.environ, **ENVIRONMENT, "SPECS_LAB_CACHE": str(folder / "cache")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def sightings(folder: Path, done: subprocess.CompletedProcess[str]) -> list[str]:
    """Where a canary was seen."""
    files = [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    return [*map(str, files), *(text for text in (done.stdout, done.stderr) if CANARY in text)]


def test_a_study_writes_no_secret_anywhere(tmp_path: Path):
    arguments = ("experiment=smoke", "recipe=cold_only", "coldstart=sft", "model=tiny", "logger.kinds=[csv,wandb]")
    done = study(tmp_path, *arguments, "logger.tags=['${oc.env:USER,nobody}']")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "job" / "job.json").is_file()
    assert list((tmp_path / "job").rglob("*.wandb"))
    assert sightings(tmp_path, done) == []


def test_a_url_with_credentials_is_refused_before_anything_is_written(tmp_path: Path):
    done = study(tmp_path, "judge=endpoint", "judge.model=m", f"judge.url={URL}/v1")
    assert done.returncode == 2
    assert "holds credentials" in done.stderr
    assert sightings(tmp_path, done) == []
    assert not (tmp_path / "job").exists()


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "override",
    [
        f"judge.url={URL}/v1",
        f"+problems.path={URL}",
        f"nonsense={URL}",
        f"--nonsense={URL}",
        URL,
        f"logger.project={ENVIRONMENT['WANDB_API_KEY']}",
        "logger.project=${oc.env:WANDB_API_KEY}",
        "logger.project='a ${oc.env:HF_TOKEN,none}'",
        "logger.tags=[a,'${oc.env:\"DB_PASSWORD\"}']",
        f"hydra.run.dir=/tmp/{ENVIRONMENT['HF_TOKEN']}",
        "hydra.job.env_set.MY_TOKEN=something",
        "judge.api_key_env=sk-abcdefghijklmnopqrstuvwxyz",
        "logger.entity=hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
    ],
)
@pytest.mark.usefixtures("canaries")
def test_secrets_on_the_command_line_are_refused_unseen(override: str):
    (fault,) = argument_faults(["seed=1", override])
    said = str(fault)
    assert CANARY not in said
    assert "abcdefghijklmnop" not in said


@pytest.mark.parametrize(
    "override",
    [
        "judge.url=http://localhost:8000/v1",
        "judge.api_key_env=OPENAI_API_KEY",
        "model.repo=Qwen/Qwen2.5-VL-3B",
        "problems.path=/data/user@host/x",
        "logger.project=${oc.env:USER}",
        "rl.max_new_tokens=128",
        "hydra.job.env_set.OMP_NUM_THREADS=1",
        "hydra.searchpath=[file:///a/b]",
        "logger.entity=my-team",
        "logger.project=sk-learn-experiments-2026",
        "logger.tags=[task-hf_token,risk-0123456789012345678901234567890123456789]",
        "model.path=/home/me/hf_checkpoints_of_my_long_experiment_name_2026_01",
        "model.revision=66285546d2b821cf421d4f5eb2576359d3770cd3",
        "model.revision=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "model.path=${oc.env:HF_HOME}/models",
        "judge.prompt='see https://x.example/a?mail=a@b.example'",
        "rl.stop_token_ids=[1,2]",
        "tokenizer=tokens",
    ],
)
@pytest.mark.usefixtures("canaries")
def test_what_is_no_secret_is_not_refused(override: str):
    assert argument_faults([override]) == []


@pytest.mark.parametrize("value", ["${oc.env:HF_TOKEN}", URL, "${oc.env:HARMLESS}"])
@pytest.mark.usefixtures("canaries")
def test_a_configuration_of_somebody_else_reads_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("HARMLESS", URL)
    (tmp_path / "logger").mkdir()
    start = "defaults:\n  - /schema/logger@_here_: logger\n  - _self_\n"
    (tmp_path / "logger" / "theirs.yaml").write_text(f"{start}project: '{value}'\n")
    with composer(config_dir=tmp_path) as known:
        faults = find_faults(known, ["logger=theirs"], sweep=False)
    assert any(fault.where.startswith("logger") for fault in faults)
    assert CANARY not in "".join(map(str, faults))


@pytest.mark.usefixtures("canaries")
def test_other_variables_may_be_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCRATCH", "/scratch")
    with composer():
        assert OmegaConf.create({"a": "${oc.env:SCRATCH}", "b": "${oc.env:NOT_SET_AT_ALL,x}"}) == {
            "a": "/scratch",
            "b": "x",
        }


def test_names_of_secrets_by_hand():
    assert all(map(is_secret, VARIABLES))
    assert not any(
        map(is_secret, ("HOME", "TOKENIZERS_PARALLELISM", "WANDB_IDENTITY_TOKEN_FILE", "MONKEY", "KEYBOARD"))
    )


def test_short_secrets_are_words_and_paths_and_public_keys_are_none(tmp_path: Path):
    key = tmp_path / "id_rsa"
    key.touch()
    environment = {"DB_PASSWORD": "postgres", "SSH_KEY": str(key), "GPG_PUBLIC_KEY": "A035C8C19219BA821ECE"}
    assert secret_in("judge.url=http://host/?p=postgres", environment) == "holds the secret of the variable DB_PASSWORD"
    assert secret_in("logger.project=postgresql", environment) is None
    assert secret_in(f"data.path={key}.d", environment) is None
    assert secret_in("logger.project=A035C8C19219BA821ECE", environment) is None
    assert secret_in("xsk-1/abcdefgh-ijkx", {"A_KEY": "sk-1/abcdefgh-ijk"}) is not None  # long ones within words too


def test_what_others_write_is_shown_without_secrets():
    text = f"404 for {URL}/x and Bearer {ENVIRONMENT['HF_TOKEN']} and ghp_{'a1' * 20}"
    shown = without_secrets(text, ENVIRONMENT)
    assert shown == "404 for https://***@host.example/x and Bearer *** and ***"
    assert secret_in(shown, ENVIRONMENT) is None
    assert without_secrets("short", {"MY_KEY": "short"}) == "short"
