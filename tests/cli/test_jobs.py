import pytest

from specs_lab.cli.composition import Composer
from specs_lab.cli.jobs import JobName, key_of, name_alone, name_job, quoted


@pytest.mark.parametrize(
    ("overrides", "arm"),
    [
        (["coldstart=hybrid"], "hybrid"),
        (["coldstart=sft", "coldstart.lr=0.001", "seed=4"], "sft lr=0.001"),
        (["coldstart.lr=1", "rl.lr=2"], "coldstart.lr=1 rl.lr=2"),
        (["rl@zero=dapo", "rl=grpo"], "zero=dapo grpo"),
        (["+experiment=smoke", "~logger"], "smoke"),
        (["trainer.threads=2", "paths.cache=x", "seed=1"], "default"),
    ],
)
def test_arms_are_named_by_choices_and_not_by_the_seed(overrides: list[str], arm: str) -> None:
    assert name_job(0, overrides).arm == arm


def test_only_what_is_swept_names_a_job() -> None:
    job = name_job(3, ["model=tiny", "coldstart=sft", "seed=1"], swept={"coldstart", "seed"})
    assert job == JobName(3, "sft seed=1", "sft", ("model=tiny", "coldstart=sft", "seed=1"))


def test_jobs_of_one_arm_differ_in_name() -> None:
    names = [name_job(i, ["coldstart=sft", f"seed={i}"], swept={"coldstart", "seed"}) for i in range(3)]
    assert len({job.arm for job in names}) == 1
    assert len({job.name for job in names}) == 3


def test_a_job_survives_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert JobName.from_environment() is None
    job = name_job(2, ["coldstart=sft", "model.path='a b'"])
    for name, value in job.as_environment().items():
        monkeypatch.setenv(name, value)
    assert JobName.from_environment() == job


@pytest.mark.parametrize("override", ["a.b=1", "+a.b=1", "++a.b=x=y", "~a.b"])
def test_the_key_of_an_override(override: str) -> None:
    assert key_of(override) == "a.b"


@pytest.mark.parametrize("text", ["plain", "a b", "it's", "a=b,c", "[x]", "back\\slash", "a\\'b", "C:\\"])
def test_quoted_text_reaches_hydra_unchanged(known: Composer, text: str) -> None:
    assert known.parse(f"hydra.run.dir={quoted(text)}").value() == text


def test_the_arm_of_a_run_alone_is_its_cold_start():
    job = name_alone("dpo", ["coldstart=dpo", "rl.steps=3"])
    assert (job.arm, job.number, job.overrides) == ("dpo", 0, ("coldstart=dpo", "rl.steps=3"))
