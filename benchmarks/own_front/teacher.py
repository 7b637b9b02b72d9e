"""Trains the network of :mod:`benchmarks.own_front.network` on CIFAR-10 as anybody would, in plain PyTorch.

    python -m benchmarks.own_front.teacher DATA CHECKPOINT [--epochs 20] [--network resnet8]

``DATA`` has ``train`` and ``test`` with a folder of images per class. The last tenth of each class's training
images is not trained on: it is the validation split of :mod:`benchmarks.own_front.job`. It prints the
accuracy on both other splits at the end, and goes on from the last epoch if it is stopped. Images have 32
pixels a side or, for sweeps of minutes, as many as CIFAR_SIDE in the environment says.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks.own_front.network import NETWORKS

MEAN, SPREAD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
HELD_OUT = 500
"""Training images of each class that are the validation split."""


def pixels(data: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Images, uint8 of shape (n, 3, side, side), and labels of the three splits; kept beside the folder."""
    side = int(os.environ.get("CIFAR_SIDE", "32"))
    kept = data / f"pixels-{side}.npz"
    if not kept.exists():
        arrays: dict[str, np.ndarray] = {}
        for split in ("train", "test"):
            images, labels = [], []
            for label, folder in enumerate(sorted((data / split).iterdir())):
                for path in sorted(folder.iterdir()):
                    image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BOX)
                    images.append(np.asarray(image).transpose(2, 0, 1))
                    labels.append(label)
            arrays |= {f"{split}_images": np.stack(images), f"{split}_labels": np.array(labels)}
        np.savez(kept, **arrays)  # type: ignore[arg-type]  # numpy's annotation of keywords
    loaded = {name: torch.from_numpy(array) for name, array in np.load(kept).items()}
    pictures, numbers = loaded["train_images"], loaded["train_labels"]
    held = torch.zeros(len(numbers), dtype=torch.bool)
    for label in range(10):
        held[(numbers == label).nonzero().flatten()[-HELD_OUT:]] = True
    return {
        "train": (pictures[~held], numbers[~held]),
        "validation": (pictures[held], numbers[held]),
        "test": (loaded["test_images"], loaded["test_labels"]),
    }


def normalised(images: Tensor) -> Tensor:
    """float32 with mean 0 and spread 1 in each channel, as torchvision's transforms make it."""
    mean, spread = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, SPREAD))
    return (images.float() / 255 - mean) / spread


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random shifts by up to 4 pixels and flips, one for each image."""
    count, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4))
    down, right = torch.randint(0, 9, (2, count), generator=generator)
    rows, columns = down[:, None] + torch.arange(height), right[:, None] + torch.arange(width)
    flip = torch.rand(count, generator=generator) < 0.5
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    number = torch.arange(count)[:, None, None]
    return padded[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    network.eval()
    with torch.inference_mode():
        right = sum(
            int((network(normalised(part)).argmax(1) == wanted).sum())
            for part, wanted in zip(images.split(500), labels.split(500), strict=True)
        )
    return right / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="resnet18")
    options = parser.parse_args()
    splits = pixels(options.data)
    images, labels = splits["train"]
    torch.manual_seed(0)
    network = NETWORKS[options.network]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = -(-len(labels) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, total_steps=options.epochs * steps, pct_start=0.25
    )
    progress, first = options.checkpoint.with_suffix(".progress"), 0
    if progress.exists():
        state = torch.load(progress, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["epoch"]
    for epoch in range(first, options.epochs):
        begun, generator = time.perf_counter(), torch.Generator().manual_seed(epoch)
        network.train()
        for index in torch.randperm(len(labels), generator=generator).split(128):
            seen = shifted(normalised(images[index]), generator).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(network(seen), labels[index], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**state, "schedule": schedule.state_dict(), "epoch": epoch + 1}, progress)
        found = accuracy(network, *splits["validation"])
        print(f"epoch {epoch + 1}: {100 * found:.2f} %, {time.perf_counter() - begun:.0f} s", flush=True)
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    safetensors.torch.save_file(weights, options.checkpoint)
    for split in ("validation", "test"):
        print(f"{split}: {100 * accuracy(network, *splits[split]):.2f} %")


if __name__ == "__main__":
    main()
