"""The guard around torchvision; each test in a process of its own, since an import happens once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, *first: Path) -> str:
    """What ``code`` prints in a fresh interpreter that looks for modules in ``first``, then here."""
    paths = [str(path) for path in (*first, ROOT)]
    prelude = f"import sys; sys.path[:0] = {paths!r}\n"
    done = subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_works_behind_the_guard_and_twice() -> None:
    out = run(
        "from trainables.torchvision_guard import import_torchvision\n"
        "import torch\n"
        "first, second = import_torchvision(), import_torchvision()\n"
        "assert first is second is sys.modules['torchvision']\n"
        "assert first.datasets.CIFAR10.base_folder == 'cifar-10-batches-py'\n"
        "print(torch.ops.torchvision.nms.default._schema)\n"
    )
    assert out == "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def test_torchvision_works_after_an_import_without_the_guard_failed() -> None:
    run(
        "try:\n    import torchvision\n"
        "except RuntimeError:\n    pass\n"
        "from trainables.torchvision_guard import import_torchvision\n"
        "print(import_torchvision().datasets.FashionMNIST.__name__)\n"
    )


def test_nothing_imports_torchvision_before_its_data_is_read() -> None:
    out = run(
        "from pathlib import Path\n"
        "from trainables.tasks import TASKS, Digits\n"
        "import trainables.torchvision_guard\n"
        "Digits().load(None)\n"
        "print('torchvision' in sys.modules)\n"
    )
    assert out == "False"


@pytest.mark.parametrize(("loadable", "declared"), [(True, "False"), (False, "True")])
def test_schemas_are_declared_only_where_the_compiled_operators_do_not_load(
    tmp_path: Path, loadable: bool, declared: str
) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    if loadable:  # any library that loads beside this torch will do: torch's own stub
        shutil.copy(torch._C.__file__, package / "_C.so")
    else:
        (package / "_C.so").write_bytes(b"\x7fELF of another machine")
    out = run(
        "from trainables.torchvision_guard import import_torchvision\n"
        "import torch\n"
        "import_torchvision()\n"
        "print(hasattr(torch.ops.torchvision, 'nms') and hasattr(torch.ops.torchvision, 'qnms'))\n",
        tmp_path,
    )
    assert out == declared


def test_a_module_of_the_user_imports_torchvision_as_ours_does(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "import torchvision\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, input_shape, outputs, depth, width):\n"
        "        super().__init__()\n"
        "        self.layers = torchvision.ops.MLP(input_shape[0], [outputs])\n"
    )
    out = run(
        "from trainables.models.custom import Custom, allow\n"
        "allow('theirs:Net')\n"
        "print(Custom(target='theirs:Net').build((4,), 2).layers[0].out_features)\n",
        tmp_path,
    )
    assert out == "2"


def test_a_module_of_the_user_does_without_torchvision_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("from torch import nn\nclass Net(nn.Identity):\n    pass\n")
    out = run(
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: name != 'torchvision' and real(name, *rest) or None\n"
        "from trainables.models.custom import Custom, allow\n"
        "allow('theirs:Net')\n"
        "print(type(Custom(target='theirs:Net').build((4,), 2)).__name__, 'torchvision' in sys.modules)\n",
        tmp_path,
    )
    assert out == "Net False"
