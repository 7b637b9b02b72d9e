"""What a process that trains a student imports before it begins: each sweep starts several of them."""

import subprocess
import sys

HEAVY = {
    "babel",
    "datasets",
    "mlflow",
    "optuna",
    "plotly",
    "sacrebleu",
    "scipy",
    "sklearn",
    "soundfile",
    "transformers",
}


def test_what_single_tasks_need_is_imported_by_them_alone() -> None:
    program = f"import sys, trainables.trainable; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
