import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.progress import Event, Progress
from specs_lab.stages.context import JobInfo, Study
from specs_lab.stages.options.recipe import Paths, StageSpec
from specs_lab.stages.store import MANIFEST, DamagedArtifact, Store, read_manifest
from specs_lab.stages.study import JobResult, execute
from specs_lab.tracking.options.logger import LoggerOptions
from specs_lab.tracking.rows import JOB_FILE
from specs_lab.training.options.trainer import TrainerOptions

# A study of two stages whose runners write a line to a log. With HOLD=<stage>, that stage waits for the file `go`.
# As a script it is run from a process of its own: `fake_study.py <folder> <job folder>`.
FAKE_STUDY = """
import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from specs_lab.core.progress import Event, Progress
from specs_lab.stages.context import JobInfo, Study
from specs_lab.stages.kinds import StageKind
from specs_lab.stages.options.recipe import Paths, Recipe, StageSpec
from specs_lab.stages.study import execute


@dataclass(kw_only=True)
class Options:
    log: str
    text: str = "text"
    fails: bool = False


CODE = ("specs_lab.core.errors",)
KINDS = {
    "source": StageKind(name="source", makes="model", reads=("note",), code=CODE, runner="fake_study:run"),
    "copy": StageKind(
        name="copy", makes="model", inputs={"model": "model"}, reads=("note",), code=CODE, runner="fake_study:run",
        seeded=True,
    ),
    "measure": StageKind(
        name="measure", makes="results", inputs={"model": "model"}, reads=("note",), code=CODE, runner="fake_study:run",
    ),
}
SEEN, CALLS = [], []


def run(context):
    SEEN.append(context)
    options = context.options["note"]
    with open(options.log, "a") as log:
        log.write(context.name + "\\n")
    if options.fails:
        raise ValueError("two\\nlines")
    for call in CALLS:
        call(context)
    before = "".join((folder / "result.txt").read_text() for folder in context.inputs.values())
    (context.folder / "result.txt").write_text("half")
    if os.environ.get("HOLD") == context.name:
        print("building", flush=True)
        while not Path(options.log).with_name("go").exists():
            time.sleep(0.01)
    (context.folder / "result.txt").write_text(before + options.text)


def make_study(folder):
    stages = {"first": StageSpec(kind="source"), "second": StageSpec(kind="copy", inputs={"model": "first"})}
    return Study(
        seed=5,
        recipe=Recipe(stages=stages),
        paths=Paths(cache=str(folder / "cache")),
        extra={"note": Options(log=str(folder / "log.txt"))},
    )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # of a run in the background it is ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    progress = Progress(lambda event: print(event["text"], flush=True) if event["event"] == "message" else None)
    import fake_study  # not __main__, so that option classes are the same

    folder = Path(sys.argv[1])
    execute(fake_study.make_study(folder), JobInfo(folder=Path(sys.argv[2])), progress, kinds=fake_study.KINDS)
    print("loaded", sorted({"lightning", "torch", "transformers"} & set(sys.modules)))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "code" / "fake_study.py"
    path.parent.mkdir()
    path.write_text(FAKE_STUDY)
    return path


@pytest.fixture
def fake(script: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.delitem(sys.modules, "fake_study", raising=False)
    module = __import__("fake_study")
    monkeypatch.setitem(sys.modules, "fake_study", module)  # so that it is gone after the test
    return module


@pytest.fixture
def study(fake: ModuleType, tmp_path: Path) -> Study:
    return fake.make_study(tmp_path)


@pytest.fixture
def job(tmp_path: Path) -> JobInfo:
    return JobInfo(folder=tmp_path / "job", name="trial", job=2, overrides=["rl.lr=1"], arm="lr=1")


def run(study: Study, job: JobInfo, fake: ModuleType, messages: list[str] | None = None) -> JobResult:
    def keep(event: Event) -> None:
        if messages is not None and event["event"] == "message":
            messages.append(event["text"])

    sink = Progress(keep)
    return execute(study, job, sink, kinds=fake.KINDS)


def ran(folder: Path) -> list[str]:
    return (folder / "log.txt").read_text().split()


def record(job: JobInfo) -> dict[str, Any]:
    return json.loads((job.folder / JOB_FILE).read_text())


def test_stages_run_once_in_order_and_are_found_again(
    study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path
) -> None:
    messages: list[str] = []
    result = run(study, job, fake, messages)
    again = run(study, job, fake, messages)
    assert ran(tmp_path) == ["first", "second"]
    assert (result.stages["second"].folder / "result.txt").read_text() == "texttext"
    assert [stage.cached for stage in result.stages.values()] == [False, False]
    assert [stage.cached for stage in again.stages.values()] == [True, True]
    assert again.stages == {name: replace(stage, cached=True) for name, stage in result.stages.items()}
    assert [("made in" in text, "found in the store" in text) for text in messages] == [(True, False)] * 2 + [
        (False, True)
    ] * 2


def test_only_what_a_change_concerns_runs_again(study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path) -> None:
    run(study, job, fake)
    study.seed = 6  # the first stage is not seeded
    run(study, job, fake)
    assert ran(tmp_path) == ["first", "second", "second"]


def test_a_runner_is_given_its_options_inputs_and_seed(study: Study, job: JobInfo, fake: ModuleType) -> None:
    study.trainer = TrainerOptions(threads=3)
    result = run(study, job, fake)
    first, second = fake.SEEN
    assert second.options == {"note": study.extra["note"], "trainer": study.trainer}
    assert second.inputs == {"model": result.stages["first"].folder}
    assert (first.seed, second.seed) == (0, 5)
    assert (second.name, second.kind, second.key) == ("second", "copy", result.stages["second"].key)
    assert second.loggers() == []


def test_loggers_are_made_on_demand_for_the_job_and_the_stage(
    study: Study, job: JobInfo, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    loggers = ModuleType("specs_lab.tracking.loggers")
    monkeypatch.setattr(loggers, "make_loggers", lambda *arguments: [arguments], raising=False)
    monkeypatch.setitem(sys.modules, loggers.__name__, loggers)
    study.logger = LoggerOptions(kinds=["csv"])
    result = run(study, job, fake)
    key, folder = result.stages["second"].key, job.folder / "logs" / "second"
    *about, tell = fake.SEEN[1].loggers()[0]
    assert about == [study.logger, job, "second", "copy", key, folder]
    assert callable(tell)


def test_the_manifest_of_a_stage_says_what_it_was_made_from(study: Study, job: JobInfo, fake: ModuleType) -> None:
    result = run(study, job, fake)
    manifest = read_manifest(result.stages["second"].folder)
    assert manifest["inputs"] == {"model": result.stages["first"].key}
    assert manifest["options"]["note"] == {"class": "Options", **vars(study.extra["note"])}
    assert (manifest["name"], manifest["seed"]) == ("second", 5)
    assert {"specs_lab", "python", "torch", "transformers"} <= set(manifest["versions"])


def test_the_job_file_says_how_it_went(study: Study, job: JobInfo, fake: ModuleType) -> None:
    result = run(study, job, fake)
    assert record(job) == {
        "job": 2,
        "name": "trial",
        "overrides": ["rl.lr=1"],
        "arm": "lr=1",
        "seed": 5,
        "status": "completed",
        "error": None,
        "stages": {
            name: {
                "kind": stage.kind,
                "key": stage.key,
                "folder": str(stage.folder),
                "cached": False,
                "seconds": stage.seconds,
            }
            for name, stage in result.stages.items()
        },
    }
    assert [path.name for path in job.folder.iterdir()] == [JOB_FILE]


def test_a_failing_stage_is_recorded_and_raised(study: Study, job: JobInfo, fake: ModuleType) -> None:
    study.extra["bad"] = replace(study.extra["note"], fails=True)
    study.recipe.stages["second"].options["note"] = "bad"
    with pytest.raises(ValueError, match="two\nlines"):
        run(study, job, fake)
    assert (record(job)["status"], record(job)["error"]) == ("failed", "second: ValueError: two lines")
    assert list(record(job)["stages"]) == ["first"]
    study.extra["bad"].fails = False
    assert [stage.cached for stage in run(study, job, fake).stages.values()] == [True, False]
    assert (record(job)["status"], record(job)["error"]) == ("completed", None)


def test_a_wrong_recipe_runs_nothing(study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path) -> None:
    study.recipe.stages["third"] = StageSpec(kind="copy")
    with pytest.raises(UserError):
        run(study, job, fake)
    assert record(job)["status"] == "failed"
    assert not (tmp_path / "log.txt").exists()


def truncate(folder: Path) -> None:
    (folder / "result.txt").write_text("tex")


def lose(folder: Path) -> None:
    shutil.rmtree(folder)


def forget(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


@pytest.mark.parametrize("damage", [truncate, lose, forget])
def test_a_damaged_input_is_made_anew_before_it_is_used(
    study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    result = run(study, job, fake)
    damage(result.stages["first"].folder)
    study.seed = 6
    messages: list[str] = []
    again = run(study, job, fake, messages)
    assert ran(tmp_path) == ["first", "second", "first", "second"]
    assert (again.stages["first"].folder / "result.txt").read_text() == "text"
    assert (again.stages["second"].folder / "result.txt").read_text() == "texttext"
    assert not again.stages["first"].cached
    assert read_manifest(again.stages["second"].folder)["attempts"] == 1
    assert (tmp_path / "cache" / "broken").is_dir() == (damage is not lose)
    assert any("made anew" in text for text in messages) == (damage is not lose)
    assert record(job)["status"] == "completed"


def test_what_is_damaged_is_made_from_what_is_sound(
    study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path
) -> None:
    study.recipe.stages["third"] = StageSpec(kind="measure", inputs={"model": "second"})
    result = run(study, job, fake)
    truncate(result.stages["first"].folder)
    truncate(result.stages["second"].folder)
    lose(result.stages["third"].folder)
    again = run(study, job, fake)
    assert ran(tmp_path)[3:] == ["first", "second", "third"]
    assert (again.stages["third"].folder / "result.txt").read_text() == "texttexttext"


def test_results_are_read_before_they_are_reported(
    study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path
) -> None:
    study.recipe.stages["third"] = StageSpec(kind="measure", inputs={"model": "second"})
    folder = run(study, job, fake).stages["third"].folder
    truncate(folder)
    assert [stage.cached for stage in run(study, job, fake).stages.values()] == [True, True, False]
    assert (folder / "result.txt").read_text() == "texttexttext"


@pytest.mark.parametrize("damage", [truncate, lose])
def test_an_input_that_is_damaged_while_it_is_in_use_is_made_anew(
    study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    def damage_it(context: Any) -> None:
        if context.name == "second" and fake.CALLS:
            fake.CALLS.clear()
            damage(context.inputs["model"])
            raise DamagedArtifact(context.inputs["model"], [Fault("as", "a runner", "finds it")])

    fake.CALLS.append(damage_it)
    result = run(study, job, fake)
    assert ran(tmp_path) == ["first", "second", "first", "second"]
    assert (result.stages["second"].folder / "result.txt").read_text() == "texttext"


def test_what_is_damaged_as_soon_as_it_is_made_is_an_error(
    study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path
) -> None:
    def damage_it(context: Any) -> None:
        if context.name == "second":
            truncate(context.inputs["model"])
            raise DamagedArtifact(context.inputs["model"], [Fault("as", "a runner", "finds it")])

    fake.CALLS.append(damage_it)
    with pytest.raises(UserError, match="finds it"):
        run(study, job, fake)
    assert ran(tmp_path) == ["first", "second", "first", "second"]


def test_a_job_file_that_cannot_be_written_is_one_clear_error(
    study: Study, job: JobInfo, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("specs_lab.stages.study.write_text", full)
    with pytest.raises(UserError, match="All stages are done"):
        run(study, job, fake)
    study.extra["note"].fails = True
    study.seed = 6
    with pytest.raises(ValueError, match="two") as caught:  # what went wrong first is what is told
        run(study, job, fake)
    assert "could not be written" in caught.value.__notes__[0]


def test_a_store_can_be_given(study: Study, job: JobInfo, fake: ModuleType, tmp_path: Path) -> None:
    study.paths = Paths(cache="unused")
    result = execute(study, job, Progress(), Store(tmp_path / "mine"), fake.KINDS)
    assert result.stages["first"].folder.is_relative_to(tmp_path / "mine")


def start(script: Path, folder: Path, job: str, hold: str = "") -> "subprocess.Popen[str]":
    command = [sys.executable, str(script), str(folder), str(folder / job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HOLD": hold})


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: "subprocess.Popen[str]") -> list[str]:
    """Waits for the end of a process that must end well; the lines that it has still to say."""
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return rest.splitlines()


@pytest.mark.e2e
def test_a_killed_study_goes_on_from_its_last_finished_stage(script: Path, tmp_path: Path) -> None:
    with start(script, tmp_path, "job", hold="second") as process:
        assert line(process).startswith("first: made")
        assert line(process) == "building"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "job" / JOB_FILE).exists()
    with start(script, tmp_path, "job") as process:
        first, second, _ = finish(process)
    assert first.startswith("first: found")
    assert second.startswith("second: made")
    done = json.loads((tmp_path / "job" / JOB_FILE).read_text())
    assert (Path(done["stages"]["second"]["folder"]) / "result.txt").read_text() == "texttext"
    assert ran(tmp_path) == ["first", "second", "second"]
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_study_that_is_interrupted_says_so(script: Path, tmp_path: Path, number: signal.Signals) -> None:
    with start(script, tmp_path, "job", hold="second") as process:
        assert line(process).startswith("first: made")
        assert line(process) == "building"
        process.send_signal(number)
    done = json.loads((tmp_path / "job" / JOB_FILE).read_text())
    assert (done["status"], list(done["stages"])) == ("interrupted", ["first"])
    assert done["error"].startswith("second: ")


@pytest.mark.e2e
def test_two_jobs_at_once_make_a_shared_stage_once(script: Path, tmp_path: Path) -> None:
    with start(script, tmp_path, "one", hold="first") as one:
        assert line(one) == "building"
        with start(script, tmp_path, "two") as two:
            assert line(two).startswith("waiting for another process, which is making first")
            (tmp_path / "go").touch()
            assert finish(two)[0].startswith("first: found")
            assert finish(one)[0].startswith("first: made")
    assert sorted(ran(tmp_path)) == ["first", "second"]
    jobs = [json.loads((tmp_path / name / JOB_FILE).read_text()) for name in ("one", "two")]
    assert [done["status"] for done in jobs] == ["completed", "completed"]
    assert {done["stages"]["second"]["cached"] for done in jobs} == {True, False}


@pytest.mark.e2e
def test_a_study_that_is_in_the_store_imports_nothing_heavy(script: Path, tmp_path: Path) -> None:
    for found in ("made", "found"):
        with start(script, tmp_path, "job") as process:
            first, second, loaded = finish(process)
        assert first.startswith(f"first: {found}")
        assert second.startswith(f"second: {found}")
        assert loaded == "loaded []"
