"""A verdict is reached by one rule, and written where readers look for it."""

import json

import pytest

from specs_lab.core.errors import UserError
from specs_lab.tracking.claims import RULE
from specs_lab.tracking.findings import Finding
from specs_lab.tracking.verdicts import decide, reach, write_index

ABOVE, BELOW, ACROSS = (
    {"value": sum(ends) / 2, "low": ends[0], "high": ends[1]} for ends in ((1, 3), (-3, -1), (-1, 3))
)


def finding(says, run, outcome):
    return Finding(says, run, 0.2, 0.1, 0.3, 90, 3, outcome, "", {"versus": "b"})


def verdict(*outcomes):
    """The verdict on tests `A` and `B`, each on runs `one` and `two`."""
    names = [(says, run) for says in "AB" for run in ("one", "two")]
    return reach([finding(says, run, outcome) for (says, run), outcome in zip(names, outcomes, strict=True)])


def test_all_yes_is_confirmed():
    assert verdict("yes", "yes", "yes", "yes").word == "confirmed"


def test_none_yes_is_not_confirmed_and_what_contradicts_is_named():
    unclear, contradicted = verdict(*["unclear"] * 4), verdict("no", "unclear", "unclear", "unclear")
    assert (unclear.word, contradicted.word) == ("not confirmed", "not confirmed")
    assert unclear.details == "No test is yes. Unclear: A; B."
    assert contradicted.details == "No test is yes, and some are contradicted. No: A (one). Unclear: A (two); B."


def test_anything_between_depends_on_what_is_named():
    mixed = verdict("yes", "yes", "no", "yes")
    assert mixed.word == "depends on"
    assert mixed.details == "Yes: A; B (two). No: B (one)."
    assert verdict("unclear", "unclear", "unclear", "yes").details == "Yes: B (two). Unclear: A; B (one)."


@pytest.fixture
def decided(experiment):
    """One test, yes on `one` and unclear on `two`."""
    experiment.expect(experiment.test(), runs={"one": "run it", "two": "run it"})
    for run, ends in (("one", ABOVE), ("two", ACROSS)):
        experiment.results(run, {"arm": "a"}, {"arm": "b"}, {"arm": "a", "versus": "b", **ends})
    decide(experiment.folder)
    return experiment


def test_the_record_holds_every_test(decided):
    record = json.loads((decided.folder / "verdict.json").read_text())
    assert (record["verdict"], record["details"]) == ("depends on", "Yes: A beats B (one). Unclear: A beats B (two).")
    assert [(test["run"], test["low"], test["high"], test["outcome"]) for test in record["tests"]] == [
        ("one", 1.0, 3.0, "yes"),
        ("two", -1.0, 3.0, "unclear"),
    ]
    assert record["tests"][0]["test"]["arm"] == "a"
    assert record["rule"] == RULE


def test_the_readme_keeps_what_is_not_generated(decided):
    page = (decided.folder / "README.md").read_text()
    assert page.startswith("Before.\n\n<!-- verdict -->\n\n**Verdict: depends on.** Yes: A beats B (one).")
    assert "| A beats B | one | +2.000 | +1.000 to +3.000 | 3 | yes |" in page
    assert RULE in page
    assert page.endswith("\n\n<!-- /verdict -->\n\nAfter.\n")


def test_deciding_again_changes_nothing(decided):
    before = {path: path.read_bytes() for path in decided.folder.rglob("*") if path.is_file()}
    decide(decided.folder)
    assert before == {path: path.read_bytes() for path in decided.folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("page", ["", "<!-- verdict -->", "<!-- /verdict --> <!-- verdict -->", "<!-- verdict -->" * 2])
def test_a_readme_without_its_markers_is_a_user_error_and_nothing_is_written(decided, page):
    (decided.folder / "verdict.json").unlink()
    (decided.folder / "README.md").write_text(page)
    with pytest.raises(UserError, match="once each, in this order"):
        decide(decided.folder)
    assert not (decided.folder / "verdict.json").exists()


def test_a_missing_readme_is_a_user_error(decided):
    (decided.folder / "README.md").unlink()
    with pytest.raises(UserError, match="is missing"):
        decide(decided.folder)


def test_undefined_numbers_are_null_and_have_their_reason(experiment):
    experiment.expect(experiment.test(says="a | b"))
    undefined = dict.fromkeys(("value", "low", "high"), "")
    experiment.results("one", {"arm": "a"}, {"arm": "b"}, {"arm": "a", "versus": "b", "note": "ood is 0", **undefined})
    decide(experiment.folder)
    (test,) = json.loads((experiment.folder / "verdict.json").read_text())["tests"]
    assert (test["value"], test["outcome"], test["reason"]) == (None, "unclear", "ood is 0")
    line = "| a \\| b | one | undefined | none | 3 | unclear (ood is 0) |"
    assert line in (experiment.folder / "README.md").read_text()


def test_small_and_large_numbers_keep_their_digits(experiment):
    tests = [experiment.test(says=metric, metric=metric, versus="") for metric in ("joint", "loss", "length")]
    experiment.expect(*tests)
    sizes = {"joint": 1.0, "loss": 1e-4, "length": 1e3}
    ends = {"value": 0.51234, "low": 0.0001, "high": 0.6}
    rows = [
        {"arm": "a", "metric": metric, **{end: size * value for end, value in ends.items()}}
        for metric, size in sizes.items()
    ]
    experiment.results("one", *rows)
    decide(experiment.folder)
    page = (experiment.folder / "README.md").read_text()
    assert "| joint | one | 0.512 | 0.0001 to 0.600 |" in page
    assert "| loss | one | 5e-05 | 1e-08 to 6e-05 |" in page
    assert "| length | one | 512 | 0.1 to 600 |" in page


def test_correlations_are_drawn_once_each(experiment):
    place = {"stage": "cold", "at": "equal steps", "cell": "ood"}
    axes = [
        {axis: {**place, "metric": metric} for axis, metric in zip("xy", pair, strict=True)} for pair in ("ij", "ji")
    ]
    tests = [{"says": f"test {i}", "kind": "rank correlation", "sign": "+", **axes[i]} for i in range(2)]
    experiment.expect(*tests)
    ends = [{"value": i / 10, "low": i / 10 - 0.05, "high": "" if i == 2 else i / 10 + 0.05} for i in range(6)]
    experiment.results("one", *({"arm": f"a {i}", "metric": metric, **ends[i]} for i in range(6) for metric in "ij"))
    decide(experiment.folder)
    folder, page = experiment.folder / "results" / "one", (experiment.folder / "README.md").read_text()
    assert sorted(path.name for path in folder.glob("*.png")) == ["relation.png", "relation_2.png"]
    assert "![relation_2 of one](results/one/relation_2.png)" in page
    assert "| test 0 | one | +1.000 (rank correlation, 6 arms) | +1.000 to +1.000 | 3 | yes |" in page


@pytest.fixture
def index(decided):
    """The folder of experiments, with an empty index."""
    folder = decided.folder.parent
    (folder / "README.md").write_text("All:\n<!-- claims -->\nold\n<!-- /claims -->\nEnd.\n")
    return folder


def test_the_index_lists_every_claim_with_what_was_found(index, decided):
    other = type(decided)(index / "later")
    other.expect(other.test(), claim="C beats D")
    (index / "no_claim").mkdir()
    assert write_index(index) == index / "README.md"
    page = (index / "README.md").read_text()
    assert "| [A beats B](made_up/README.md) | It found that. | A beats B: one +2.000 (+1.000 to +3.000)," in page
    assert "two +1.000 (-1.000 to +3.000) | **depends on**: Yes: A beats B (one). Unclear: A beats B (two). |" in page
    assert "| [C beats D](later/README.md) | It found that. |  | **open** |" in page
    assert "no_claim" not in page
    assert "old" not in page
    assert page.startswith("All:\n<!-- claims -->\n")
    assert page.endswith("<!-- /claims -->\nEnd.\n")


def test_a_verdict_on_what_was_expected_before_is_no_verdict(index, decided):
    decided.expect(decided.test(sign="-"), runs={"one": "run it", "two": "run it"})
    with pytest.raises(UserError, match=r"is the verdict on another expected\.json"):
        write_index(index)


def test_all_faults_of_an_index_are_said_at_once(index, decided):
    (decided.folder / "verdict.json").write_text("{}")
    other = type(decided)(index / "later")
    other.expect(claim="")
    (index / "README.md").write_text("no markers")
    with pytest.raises(UserError) as caught:
        write_index(index)
    said = str(caught.value)
    for wrong in (
        "verdict.json: cannot be understood",
        "claim: is missing",
        "tests: there are none",
        "claims --> once",
    ):
        assert wrong in said


def test_a_folder_without_experiments_has_no_index(tmp_path):
    with pytest.raises(UserError, match=r"no folder in it has an expected\.json"):
        write_index(tmp_path)
