"""What the distribution's page says is run as it stands."""

import re
from pathlib import Path

import pytest
import torch

from tests.trainables.test_packed_file import RECIPE
from trainables.quantizers.base import Codes, Dense, Stored
from trainables.shipping.packed_file import pack

PAGE = (Path(__file__).resolve().parents[2] / "rayduce_reader" / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["weights", "header", "integers"])
def test_examples_run(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = torch.arange(8, dtype=torch.uint8)
    tensors: dict[str, Stored] = {
        "weight": Codes(index, (2, 4), 3, None, None, torch.ones(1), zero=4),
        "bias": Dense(torch.zeros(2)),
    }
    (tmp_path / "student.rdz").write_bytes(pack(RECIPE, tensors))
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "weight" in said or RECIPE.recipe_id in said


def test_no_link_leads_out_of_the_page() -> None:
    """It is shown where the rest of the repository is not."""
    assert re.findall(r"\]\((?!https?://)[^)]*\)", PAGE) == []
