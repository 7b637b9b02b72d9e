"""Stop trainings half-way, resume them in another process, compare every bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import safetensors.torch
import torch

from trainables.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]


def check_resuming(trainers: list[Trainer], folder: Path, data: Path | None = None) -> None:
    """Each of ``trainers``, fresh and of four epochs, ends in the same state however it got there.

    ``folder`` is empty; ``data`` is that of tasks that are not embedded.
    """
    stopped, straight = folder / "stopped", folder / "straight"
    packed = {}
    for number, trainer in enumerate(trainers):
        name = f"{number:02d}-{trainer.recipe.method}"
        for epoch in range(4):
            if epoch == 2:
                trainer.save(stopped / name)
            trainer.train_epoch()
        (stopped / name / "recipe.json").write_text(json.dumps(trainer.recipe.to_dict()))
        trainer.save(straight / name)
        packed[name] = trainer.ship()
    command = [sys.executable, "-m", "tests.trainables.resume_worker", stopped, *([data] if data else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT, env=environment, timeout=300)
    for name, expected in packed.items():
        assert (stopped / name / "resumed.rdz").read_bytes() == expected, name
        ours = safetensors.torch.load_file(straight / name / "state.safetensors")
        theirs = safetensors.torch.load_file(stopped / name / "end" / "state.safetensors")
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
