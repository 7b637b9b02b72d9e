"""Your own network that reads text: whole numbers as inputs, several of them by name.

Run from the folder above ``examples``:

    python examples/own_text.py          # trains it and writes own_text.pt beside this file
    rayduce sweep examples/own_text.py   # searches the front of small students of it
"""

import itertools
import random
from pathlib import Path

import torch
from torch import Tensor, nn

weights = "own_text.pt"
batch_size = 64
THINGS = [
    "the film",
    "the plot",
    "the cast",
    "the end",
    "the music",
    "the first half",
    "the sequel",
    "the script",
]
HEDGES = ["was", "seemed", "felt", "to my surprise was", "as usual was", "in my view was", "turned out to be"]
OPINIONS = (
    ["awful", "boring", "a waste of time", "painfully slow", "poorly made", "hard to sit through"],
    ["fine", "decent enough", "neither here nor there", "watchable", "about average", "all right"],
    ["wonderful", "gripping", "a joy to watch", "beautifully made", "clever and warm", "a small wonder"],
)
REVIEWS = [
    (f"{thing} {hedge} {opinion}".split(), label)
    for label, opinions in enumerate(OPINIONS)
    for thing, hedge, opinion in itertools.product(THINGS, HEDGES, opinions)
]
random.Random(0).shuffle(REVIEWS)
WORDS = sorted({word for words, _ in REVIEWS for word in words})
LONGEST = max(len(words) for words, _ in REVIEWS)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS) + 1, 64)
        self.layers = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 3))

    def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
        known = self.embedding(tokens) * (tokens > 0).unsqueeze(2)
        return self.layers(known.sum(1) / length.unsqueeze(1))


class Reviews:
    """({"tokens", "length"}, label); 0 fills up the tokens, and labels are 0 bad, 1 fair, 2 good."""

    def __init__(self, reviews: list[tuple[list[str], int]]) -> None:
        self.reviews = reviews

    def __len__(self) -> int:
        return len(self.reviews)

    def __getitem__(self, number: int) -> tuple[dict[str, Tensor], int]:
        words, label = self.reviews[number]
        tokens = torch.zeros(LONGEST, dtype=torch.long)
        tokens[: len(words)] = torch.tensor([WORDS.index(word) + 1 for word in words])
        return {"tokens": tokens, "length": torch.tensor(len(words))}, label


def network() -> nn.Module:
    return Reader()


def data(split: str) -> Reviews:
    part = {"train": slice(600), "validation": slice(600, 800), "test": slice(800, None)}[split]
    return Reviews(REVIEWS[part])


if __name__ == "__main__":
    torch.manual_seed(0)
    trained = network()
    optimizer = torch.optim.AdamW(trained.parameters(), 5e-3)
    for _ in range(15):
        for inputs, labels in torch.utils.data.DataLoader(data("train"), batch_size, shuffle=True):  # type: ignore[arg-type]
            optimizer.zero_grad()
            nn.functional.cross_entropy(trained(**inputs), labels).backward()
            optimizer.step()
    torch.save(trained.state_dict(), Path(__file__).with_name(weights))
    print(f"{weights} is written.")
