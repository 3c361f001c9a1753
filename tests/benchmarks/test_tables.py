import json
from dataclasses import asdict

import pytest

from benchmarks import tables
from benchmarks.cases import Case
from benchmarks.duel import Outcome, Step
from benchmarks.results import machine, part_ratios, ratios, spread, summary, write
from benchmarks.vs_trl import chosen_cases, default_out, parse, settings_of


def results(large: bool = False) -> dict:
    """As `vs_trl` writes them: one case that went well, one that failed."""
    case = Case(method="dpo", prompts=2, image=56, completion=16, reference="cached")
    ours = Outcome([Step(0.1, {"rollout": 0.05}, 90)], {"base_mb": 100.0, "peak_mb": 150.0}, {})
    note = "online, since precompute is refused: no pictures. And more."
    trl = Outcome([Step(0.3, {"rollout": 0.1}, 90)], {"base_mb": 110.0, "peak_mb": 300.0}, {"reference": note})
    left, right = summary(ours), summary(trl)
    good = {
        **{"name": case.name, **asdict(case), "prompt_tokens": 34, "sharing_bound": 1.5, "vocab": 2048},
        **{"ours": left, "trl": right, **ratios(ours.steps, trl.steps)},
        **{"part_ratios": part_ratios(left["parts"], right["parts"]), "memory_ratio": 2.0},
    }
    if large:
        for side in (left, right):
            side |= {"tokens_per_second": 900.0, "mfu": 0.25}
    bad = {"name": "broken", "error": "TRL has ended"}
    settings = asdict(settings_of(parse(["--dry-run"] if large else [])))
    return {"kind": "vs_trl", "machine": machine(), "settings": settings, "cases": [good, bad]}


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


@pytest.mark.parametrize("large", [False, True])
def test_a_table_has_a_row_for_each_case_and_equal_columns(large):
    header, rule, good, bad = rows(tables.table(results(large)))
    assert len({len(row) for row in (header, rule, good, bad)}) == 1
    cells = dict(zip(header, good, strict=True))
    assert cells["TRL ms"] == "300"
    assert cells["ours ms"] == "100"
    assert cells["ratio"] == "**3.00**"
    assert cells["bound"] == "1.50"
    assert cells["parts"] == "rollout 2.00"
    assert cells["peak MiB"] == "300 / 150 (0.50)"
    assert cells["since start MiB"] == "190 / 50 (0.26)"
    assert bad[:2] == ["broken", "failed: TRL has ended"]
    if large:
        assert cells["MFU"] == "25.0% / 25.0%"


def test_what_trl_refused_is_said_below_the_table():
    assert "TRL's reference: online, since precompute is refused: no pictures." in tables.table(results())


def test_a_file_goes_between_the_markers_of_its_name(tmp_path):
    readme, file = tmp_path / "README.md", tmp_path / "vs_trl.json"
    readme.write_text("a\n<!-- vs_trl -->\nold\n<!-- /vs_trl -->\nb\n<!-- study -->\nkept\n<!-- /study -->\n")
    write(results(), file)
    assert tables.main([str(file), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("a\n<!-- vs_trl -->\n")
    assert "old" not in text
    assert "**3.00**" in text
    assert text.endswith("<!-- /vs_trl -->\nb\n<!-- study -->\nkept\n<!-- /study -->\n")
    tables.main([str(file), "--readme", str(readme)])
    assert readme.read_text() == text


def test_a_table_without_a_place_is_refused():
    with pytest.raises(ValueError, match="0 places"):
        tables.insert("nothing", "vs_trl", "table")


def test_the_readme_has_a_place_for_every_result_and_is_up_to_date():
    text = tables.README.read_text(encoding="utf-8")
    for arguments in ([], ["--shape", "mini_vocab"], ["--shape", "3b"], ["--shape", "7b"], ["--trl", "as-is"]):
        tables.insert(text, default_out(settings_of(parse(arguments)), False).stem, "")
    tables.insert(text, "memory_cuda", "")
    for file in (tables.README.parent / "results").glob("*.json"):
        content = tables.table(json.loads(file.read_text(encoding="utf-8")))
        assert tables.insert(text, file.stem, content) == text, f"run: python -m benchmarks.tables {file}"


def test_scaling_and_study_have_tables():
    mode = {"train_s": 0.5, "rollout_s": 0.25, "saved_mb": 100.0}
    point = {"factor": "group", "value": 8, "modes": {"plain": mode, "shared": {**mode, "train_s": 0.1}}}
    common = {"machine": machine(), "settings": {"threads": 1}}
    scaling = {"kind": "scaling", **common, "base": {"group": 8}, "points": [point]}
    assert rows(tables.table(scaling))[2] == ["group", "8", "500 → 100", "250 → 250", "100 → 100"]
    side = {"seconds": spread([10.0, 20.0]), "cpu_seconds": spread([9.0]), "peak_mb": 700.0}
    sides = {"command": "specs-lab", "sides": {"before": side, "after": side}, "ratio": 1.0, "cpu_ratio": 1.0}
    assert rows(tables.table({"kind": "study", **common, **sides}))[2] == [
        *("before", "15.0", "10.0 to 20.0", "9.0", "700")
    ]


def grading(accepted: bool = False) -> dict:
    """As `grading` writes them."""
    counts = {"false_accepts": 1, "false_rejects": 2, "none": 0}
    graders = {"specs_lab": dict.fromkeys(counts, 0), "math-verify": {**counts, "none": 3}, "exact": counts}
    line = {"type": "word", "n": 9, "right": 4, "wrong": 5, "graders": graders, "way": "${gold}$, response"}
    ways = {
        "grade": {"per_second": spread([1000.0]), "agreed": 1.0},
        "grade_many": {"per_second": spread([2000.0, 4000.0]), "agreed": 1.0},
        "math-verify": {"per_second": spread([100.0]), "agreed": 0.5},
    }
    return {
        **{"kind": "grading", "machine": machine(), "settings": {"threads": 1}, "accuracy": [line]},
        "throughput": [{"kind": "word", "form": "response", "ways": ways}],
        "towers": [{"tower": "9^9", "seconds": 0.5, "accepted": accepted, "next_is_right": True}],
        "threads": {"grades": 100, "threads": 8, "seconds": 1.0, "differences": 0},
    }


def test_grading_has_a_table_of_mistakes_of_rates_and_of_towers():
    text = tables.table(grading())
    found = rows(text)
    header, line = found[0], found[2]
    cells = dict(zip(header, line, strict=True))
    assert (cells["specs_lab"], cells["math-verify"], cells["exact"]) == ("0 / 0", "1 / 2 (3 none)", "1 / 2")
    assert found[5] == [
        *("word, response", "1000 (1000 to 1000)", "3000 (2000 to 4000)", "100 (100 to 100), 50% right", "**30.0**")
    ]
    assert found[8] == ["`9^9`", "0.50", "yes", "yes"]
    assert "100 grades from 8 threads: 0 differ from those of one." in text


def test_a_tower_that_is_accepted_stands_out():
    assert rows(tables.table(grading(accepted=True)))[8][2] == "**no**"


def test_cases_are_chosen_by_method_and_name():
    chosen = list(chosen_cases(parse(["--only", "dpo", "--match", "448 px"])))
    assert len(chosen) == 3
    assert all(case.method == "dpo" and case.image == 448 for case in chosen)
    with pytest.raises(SystemExit, match="no method ppo"):
        list(chosen_cases(parse(["--only", "ppo"])))


def test_a_dry_run_is_small_and_goes_the_way_of_a_gpu():
    options = parse(["--dry-run", "--device", "cuda", "--shape", "3b"])
    settings, cases = settings_of(options), list(chosen_cases(options))
    assert (settings.shape, settings.device, settings.large, settings.steps) == ("mini", "cpu", True, 1)
    assert len(set(cases)) == len(cases)
    assert all(case.image == 56 for case in cases)


def test_the_7b_runs_one_side_after_the_other():
    assert not settings_of(parse(["--shape", "7b", "--device", "cuda"])).together
    assert settings_of(parse([])).together
