"""Your own trained network: a small ResNet that reads handwritten digits.

Run from the folder above ``examples``:

    python examples/own_network.py                          # trains it, writes own_network.pt beside it
    rayduce sweep examples/own_network.py                   # searches the front of small students of it
    rayduce compress examples/own_network.py --max-drop 1   # or: the smallest within one point, as a file
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

weights = "own_network.pt"


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.body = nn.Sequential(*first, *second)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return (self.body(images) + self.skip(images)).relu()


def network() -> nn.Module:
    blocks = Block(1, 16, 1), Block(16, 32, 2), Block(32, 64, 2)
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def data(split: str) -> TensorDataset:
    images, labels = map(torch.from_numpy, load_digits(return_X_y=True))
    part = torch.arange(len(labels)) % 5
    chosen = {"train": part < 3, "validation": part == 3, "test": part == 4}[split]
    return TensorDataset(images[chosen].float().view(-1, 1, 8, 8) / 8 - 1, labels[chosen])


if __name__ == "__main__":
    torch.manual_seed(0)
    trained, (images, labels) = network(), data("train").tensors
    optimizer = torch.optim.AdamW(trained.parameters(), 2e-3)
    for epoch in range(1, 11):
        for batch in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(trained(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} of 10: loss {loss.item():.3f}", flush=True)
    torch.save(trained.state_dict(), Path(__file__).with_name(weights))
    print(f"{weights} is written.")
