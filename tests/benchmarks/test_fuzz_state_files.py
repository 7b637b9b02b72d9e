"""Damaged files that a sweep goes on from: told in a sentence or gone on with, and never a wrong fact."""

import pytest

from benchmarks.fuzz_state_files import CASES, Case, run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_file_is_told_or_gone_on_with(case):
    outcome = run(case, 60)
    assert outcome.faults == []
    assert outcome.told + outcome.used == 60


def test_faults_are_found(tmp_path):
    def make(folder):
        (folder / "file").write_text("right")
        return folder / "file"

    believing = Case("believed", make, lambda folder: frozenset([(folder / "file").read_bytes().hex()]))
    assert any("says" in fault for fault in run(believing, 30).faults)
    raising = Case("raised", make, lambda folder: frozenset([(folder / "file").read_bytes().decode()[4]]))
    assert any("IndexError" in fault for fault in run(raising, 30).faults)
