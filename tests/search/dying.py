"""Students whose process is killed while they train: the kernel's way to end a trial."""

import hashlib
import os
import signal
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

# Trials run in processes of their own, with the environment of the test session.
SESSION = hashlib.sha256(os.environ.get("RAY_AUTH_TOKEN", "").encode()).hexdigest()[:12]
DEATHS = Path(tempfile.gettempdir()) / f"rayduce-deaths-{SESSION}"
BATCHES = {1: 25, 4: 3}
"""By lives, how far into its training a process dies: in a later epoch, or before there is a checkpoint."""


class Net(nn.Module):
    """Dies once per unit of ``depth`` - 1, and then trains to its end."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, depth: int, width: float) -> None:
        super().__init__()
        self.lives = depth - 1
        self.batches = 0
        self.linear = nn.Linear(int(torch.tensor(input_shape).prod()), round(16 * width))
        self.classifier = nn.Linear(round(16 * width), outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.batches += 1
            path = DEATHS / str(self.lives)
            if self.batches == BATCHES.get(self.lives) and path.stat().st_size < self.lives:
                with path.open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
        hidden: Tensor = torch.relu(self.linear(x.flatten(1)))
        output: Tensor = self.classifier(hidden)
        return output


class Hungry(nn.Module):
    """Wants more memory than addresses can name."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, depth: int, width: float) -> None:
        super().__init__()
        self.linear = nn.Linear(2**24, 2**24)  # 1 PB
