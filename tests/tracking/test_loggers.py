"""Loggers write into the job's folder only, silently, and say when a stage failed."""

import csv
from pathlib import Path

import pytest

from specs_lab.core.errors import UserError
from specs_lab.stages.context import JobInfo
from specs_lab.tracking.loggers import finish_loggers, logged_in, make_loggers, run_id, wandb_mode
from specs_lab.tracking.options.logger import LoggerOptions


def job(folder: Path) -> JobInfo:
    return JobInfo(folder=folder, name="sft lr=0.001 seed=1", arm="sft lr=0.001", overrides=["coldstart=sft", "seed=1"])


def test_no_kinds_make_no_loggers(tmp_path):
    assert make_loggers(LoggerOptions(), job(tmp_path), "cold", "coldstart", "abc", tmp_path / "artifact") == []
    finish_loggers([], failed=True)
    assert list(tmp_path.iterdir()) == []


def test_csv_logs_into_the_job_folder_and_a_rerun_keeps_both(tmp_path):
    for attempt in range(2):
        loggers = make_loggers(
            LoggerOptions(kinds=["csv"]), job(tmp_path), "cold", "coldstart", "abc", tmp_path / "artifact"
        )
        for logger in loggers:
            logger.log_metrics({"train/loss": 0.5 + attempt}, step=3)
        finish_loggers(loggers, failed=attempt == 0)
        with (tmp_path / "logs" / "cold" / f"version_{attempt}" / "metrics.csv").open() as file:
            assert list(csv.DictReader(file)) == [{"step": "3", "train/loss": str(0.5 + attempt)}]
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize("failed", [False, True])
def test_wandb_offline_makes_one_silent_run(tmp_path, monkeypatch, capfd, failed):
    import wandb

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_SILENT")
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))
    codes = []
    finish = wandb.Run.finish
    monkeypatch.setattr(wandb.Run, "finish", lambda run, exit_code: (codes.append(exit_code), finish(run, exit_code)))
    folder = tmp_path / "2026-01-31" / "10-00-00" / "0_sft"
    options = LoggerOptions(kinds=["wandb"], tags=["mine"])
    (logger,) = make_loggers(options, job(folder), "cold", "coldstart", "abc", tmp_path / "artifact")
    run = wandb.run
    assert run is not None
    assert (run.group, run.job_type, run.name) == (
        "2026-01-31/10-00-00",
        "coldstart",
        "sft lr=0.001 seed=1: cold",
    )
    assert set(run.tags or ()) == {"mine", "coldstart=sft", "seed=1", "cold"}
    assert run.config["arm"] == "sft lr=0.001"
    assert run.offline
    logger.log_metrics({"train/loss": 0.5}, step=1)
    finish_loggers([logger], failed=failed)
    assert wandb.run is None
    assert codes == [int(failed)]
    (file,) = (folder / "logs" / "wandb").glob(f"offline-run-*-{run.id}/run-{run.id}.wandb")
    wandb.teardown()  # W&B's own process writes the last bytes after `finish` has returned
    assert b"train/loss" in file.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_run_ids_are_stable_and_differ_between_jobs_and_stages():
    assert run_id("abc", "sft seed=1") == run_id("abc", "sft seed=1")
    assert len({run_id("abc", "sft"), run_id("abc", "dpo"), run_id("abd", "sft"), run_id("abcsft", "")}) == 4


def test_auto_is_online_exactly_when_logged_in(tmp_path):
    nobody = {"NETRC": str(tmp_path / "netrc")}
    assert wandb_mode("auto", nobody) == "offline"
    assert wandb_mode("auto", {**nobody, "WANDB_API_KEY": "k"}) == "online"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password k\n")
    assert wandb_mode("auto", nobody) == "online"
    assert wandb_mode("auto", {**nobody, "WANDB_BASE_URL": "https://wandb.example.org"}) == "offline"


def test_what_is_asked_for_goes_before_what_the_environment_says():
    environment = {"WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}
    assert wandb_mode("auto", environment) == "disabled"
    assert wandb_mode("offline", environment) == "offline"
    assert wandb_mode("online", {}) == "online"


def test_a_broken_netrc_is_a_user_error(tmp_path):
    (tmp_path / "netrc").write_text("machina api.wandb.ai\n")
    with pytest.raises(UserError, match=r"logger\.mode=offline"):
        logged_in({"NETRC": str(tmp_path / "netrc")})
