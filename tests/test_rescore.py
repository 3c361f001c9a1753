"""`specs-lab rescore`: offline, old against new verdicts, whole sweeps, older files, judges."""

import json

import pandas as pd
import pytest

from specs_lab.evaluation.benchmarks.base import Item
from specs_lab.evaluation.benchmarks.storing import item_json
from specs_lab.problems.rows import ProblemRow
from specs_lab.rescore import main
from specs_lab.tracking.rescoring import find_places
from specs_lab.tracking.rows import write_samples


def sample(number, response, answer="7", right=True, **changes):
    return {
        "step": 0,
        "cell": "id",
        "task_id": f"id/{number}",
        "family": "count",
        "style": "plain",
        "instruction": "tags",
        "response": response,
        "answer": answer,
        "format": True,
        "accuracy": right,
        "truncated": False,
        "question": "How many?",
        "asked_kind": "integer",
        "choices": "[]",
        "precision": None,
        "unit": None,
        "asked_format": "think_answer",
        "benchmark": "",
        "item": "",
        "kind": "integer",
        "extracted": "7",
        "score": float(right),
        **changes,
    }


def of_benchmark(number, response, right, answer="B", choices=("red", "blue"), kind="choice"):
    row = ProblemRow(id=str(number), question="Which?", answer=answer, kind=kind, choices=choices)
    extra = {"query": "", "question_type": "multi_choice", "answer_type": "text", "skills": []}
    item = item_json(Item(row=row, extra=extra))
    own = {
        "cell": "mathvista",
        "benchmark": "mathvista",
        "item": item,
        "choices": json.dumps(choices),
        "answer": answer,
    }
    return sample(number, response, right=right, task_id=f"mathvista/{number}", asked_kind=kind, **own)


SAMPLES = [
    sample(1, "<answer> 7 </answer>"),
    sample(2, "<answer> seven </answer>", right=False),  # an older rule read no words
    sample(3, "<answer> 8 </answer>", right=False),
    of_benchmark(1, "<answer> (B) </answer>", True),
    of_benchmark(2, "<answer> A </answer>", True),  # an older rule was wrong
    of_benchmark(3, "<answer> the big whale </answer>", False, "a big whale", (), "open"),
]


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "evaluate" / "0123"
    folder.mkdir(parents=True)
    write_samples(folder / "samples.parquet", SAMPLES)
    return folder


def test_old_and_new_verdicts_stand_side_by_side(artifact, tmp_path, capsys):
    main([str(artifact), "--out", str(tmp_path / "out")])
    table = pd.read_csv(tmp_path / "out" / "rescored.csv").set_index("task_id")
    assert table["new_correct"].tolist() == [True, True, False, True, False, False]
    assert table["changed"].tolist() == [False, True, False, False, True, False]
    assert table.loc["id/2", "new_extracted"] == "seven"
    assert "A is not B" in table.loc["mathvista/2", "reason"]
    page = (tmp_path / "out" / "rescored.md").read_text()
    assert "2 of 6 verdicts changed" in page
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    by_name = {tuple(line[1:3]): line for line in lines}
    assert by_name["id", "accuracy"][3] == "3"
    assert by_name["id", "accuracy"][4].startswith("33.3 (0.0 to 100.0)")
    assert by_name["id", "accuracy"][5].startswith("66.7 (0.0 to 100.0)")
    assert by_name["id", "accuracy"][6:] == ["1", "0"]
    assert by_name["mathvista", "accuracy"][6:] == ["0", "1"]
    assert by_name["mathvista", "question_type/multi_choice"][3:6] == [
        "3",
        "66.7 (0.0 to 100.0)",
        "33.3 (0.0 to 100.0)",
    ]
    assert "Scored again" in capsys.readouterr().out


def test_numbers_of_groups_are_no_shares(tmp_path):
    def step(name, right):
        row = ProblemRow(id=name, question="Which?", answer="B", kind="choice", choices=("red", "blue"))
        item = item_json(Item(row=row, extra={"option": "", "group": "2steps/1", "step": name}))
        own = {"cell": "we_math", "benchmark": "we_math", "item": item, "choices": '["red", "blue"]', "answer": "B"}
        return sample(name, "<answer> B </answer>", right=right, task_id=f"we_math/{name}", asked_kind="choice", **own)

    write_samples(tmp_path / "samples.parquet", [step("1", True), step("2", False), step("multi", True)])
    main([str(tmp_path)])
    lines = [line.split("|") for line in (tmp_path / "rescored.md").read_text().splitlines()]
    found = {line[3].strip(): [part.strip() for part in line[5:7]] for line in lines if len(line) > 7}
    assert found["groups/complete"] == ["1", "1"]
    assert found["strict/complete_mastery"] == ["0.0 (0.0 to 97.5)", "100.0 (2.5 to 100.0)"]
    assert found["accuracy"] == ["66.7", "100.0 (2.5 to 100.0)"]  # one group, of three rows


def test_a_judge_is_plugged_in_by_the_command_line(artifact, tmp_path):
    main([str(artifact), "judge=overlap", "--out", str(tmp_path / "out"), "judge.threshold=0.9"])
    table = pd.read_csv(tmp_path / "out" / "rescored.csv").set_index("task_id")
    assert table.loc["mathvista/3", "new_correct"]
    assert table.loc["mathvista/3", "new_score"] == 1.0
    assert not table.loc["mathvista/2", "new_correct"]
    assert "judge=overlap judge.threshold=0.9" in (tmp_path / "out" / "rescored.md").read_text()


def test_a_sweep_is_scored_artifact_by_artifact(artifact, tmp_path):
    stage = {"kind": "evaluate", "key": "0123", "folder": str(artifact), "cached": False, "seconds": 1.0}
    for name in ("0", "1"):
        (tmp_path / "sweep" / name).mkdir(parents=True)
        record = {"arm": "", "seed": 0, "status": "completed", "error": None, "stages": {"evaluate": stage}}
        (tmp_path / "sweep" / name / "job.json").write_text(json.dumps(record))
    (place,) = find_places(tmp_path / "sweep")  # both jobs share the artifact
    assert place.name == "0/evaluate"
    main([str(tmp_path / "sweep")])
    assert len(pd.read_csv(tmp_path / "sweep" / "rescored.csv")) == len(SAMPLES)


def test_many_responses_to_a_problem_are_summed_up_by_pass_at_k(tmp_path):
    said = {1: ("7", "8"), 2: ("seven", "8"), 3: ("8", "9")}
    rows = [
        {**sample(task, f"<answer> {text} </answer>"), "k": k, "correct": text == "7"}
        for task, texts in said.items()
        for k, text in enumerate(texts)
    ]
    pd.DataFrame(rows).drop(columns=["accuracy", "step"]).to_parquet(tmp_path / "responses.parquet")
    main([str(tmp_path)])
    lines = [line.split("|") for line in (tmp_path / "rescored.md").read_text().splitlines() if "pass@" in line]
    found = {line[3].strip(): [part.strip().partition(" ")[0] for part in line[4:-1]] for line in lines}
    assert found == {"pass@1": ["3", "16.7", "33.3", "1", "0"], "pass@2": ["3", "33.3", "66.7", "", ""]}
    assert pd.read_csv(tmp_path / "rescored.csv")["k"].tolist() == [0, 1] * 3


@pytest.mark.parametrize("override", ["suite=mathvista", "judge.nothing=1", "judge=nobody", "judge.threshold=7"])
def test_wrong_overrides_are_refused(artifact, override, capsys):
    with pytest.raises(SystemExit) as error:
        main([str(artifact), override])
    assert error.value.code == 2
    assert override.partition("=")[0].partition(".")[0] in capsys.readouterr().err
    assert not (artifact / "rescored.csv").exists()


def test_a_folder_without_responses_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path)])
    assert error.value.code == 2
    assert "no stored responses" in capsys.readouterr().err


def test_an_older_file_is_refused_with_the_columns_that_it_lacks(tmp_path, capsys):
    old = ("question", "asked_kind", "choices", "precision", "unit", "asked_format", "benchmark", "item")
    write_samples(
        tmp_path / "samples.parquet",
        [{name: value for name, value in SAMPLES[0].items() if name not in (*old, "kind", "extracted", "score")}],
    )
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path)])
    assert error.value.code == 2
    assert "asked_kind" in capsys.readouterr().err


def test_an_item_that_cannot_be_read_is_a_fault(tmp_path, capsys):
    write_samples(tmp_path / "samples.parquet", [{**SAMPLES[3], "item": "{}"}])
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "mathvista/1 cannot be read" in capsys.readouterr().err
