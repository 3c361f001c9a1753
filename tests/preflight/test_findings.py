import json
from pathlib import Path

from specs_lab.preflight.findings import Finding, faults, in_order, page, size, write_page

GOOD = Finding(check="disk", level="ok", what="fine")
BAD = Finding(check="data", level="fault", what="a | b\nc", fix="repair it", figures={"rows": 3})


def test_the_worst_comes_first():
    assert in_order([GOOD, BAD]) == [BAD, GOOD]
    assert faults([GOOD, BAD]) == [BAD]


def test_a_page_is_written_for_people_and_programs(tmp_path: Path):
    write_page(tmp_path / "new", [GOOD, BAD], "specs-lab doctor seed=1")
    text = (tmp_path / "new" / "findings.md").read_text()
    assert "`specs-lab doctor seed=1`: 1 fault, 0 warning, 0 note, 1 ok." in text
    assert "| fault | data | a \\| b c | repair it |" in text
    assert text == page([GOOD, BAD], "specs-lab doctor seed=1")
    record = json.loads((tmp_path / "new" / "findings.json").read_text())
    assert record["findings"][1]["figures"] == {"rows": 3}


def test_sizes_are_told_in_their_unit():
    assert [size(count) for count in (12, 3 << 19, 5 << 40)] == ["12 B", "1.5 MiB", "5.0 TiB"]
