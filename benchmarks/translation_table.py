"""The translation tables of the quantized distillation paper (Polino et al. 2018), rerun in shape.

A full-precision teacher, an LSTM of two layers, then for each student of one layer and each seed: full
precision from labels, full precision distilled by word, and by sequence (Kim & Rush 2016), the former rounded
afterwards without and with buckets of 256 (the paper's "post-mortem"), quantized distillation (QD), and
differentiable quantization (DQ) that starts from the distilled student; at 2 and 4 bits. Every number is
measured on the packed file: BLEU and chrF by sacreBLEU of plain text that a beam of 5 found, perplexity on
target tokens. The test split is read once per final file and decides nothing.

    python -m benchmarks.translation_table --data multi30k --budget 0.1 --out table/
    python -m benchmarks.translation_table --data multi30k --units 500 --device cuda --out table/

``--data`` is a folder of line-aligned text, as for ``rayduce sweep text_pairs``, such as Multi30k's raw
folder. ``--budget F`` takes the share F^(1/3) of the training pairs and the share F^(2/3) of the epochs, so
that a training costs F times as much; validation and test stay whole. Dropout rates are multiplied by the
share of the epochs. Every finished file is kept in ``--out`` with its numbers, under the identity of its
recipe, so that the same command continues where it was stopped, and more seeds or students add to what is
there.

What differs from the paper: the students have as many units in relation to the teacher's, and embeddings of
the teacher's size, but that is 256 instead of 500 unless ``--units`` says so; one vocabulary of subwords
serves both languages, and embeddings and output layer are one table; the encoder reads both ways; labels are
smoothed; AdamW and one cosine over the whole training instead of SGD with halvings on the test perplexity;
biases are not quantized; scales and offsets are stored, and used, in float16. The paper's BLEU is that of
multi-bleu.perl on lower-cased tokens of other corpora, which compares with none of these numbers; of what it
publishes, its networks, its count of bytes and the order of its methods stand beside ours.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch

from benchmarks.jobs import (
    BUCKET_SIZE,
    FULL_PRECISION,
    TEACHER,
    Cell,
    Job,
    Lesson,
    Settings,
    Training,
    add_arguments,
    arrays_of,
    collect,
    in_starting_order,
    job_name,
    machine,
    run_all,
    run_job,
    student_jobs,
    teacher_job,
    thinned,
)
from benchmarks.report import Cells, Kind, Layout, by_seed, chain, figure, grid, markdown, mean, write_report
from trainables import methods
from trainables.metrics import quality_of
from trainables.models import LSTM
from trainables.quantizers import NoQuantizer
from trainables.recipe import Recipe
from trainables.shipping.evaluation import open_student
from trainables.tasks import TeacherTranslations, TextPairs
from trainables.tasks.base import DataError, LoadedTask
from trainables.tasks.loaded_text import LoadedText
from trainables.tasks.text_files import read_pairs

BITS = (2, 4)
UNITS_SHARE = {1: 1.0, 2: 0.5, 3: 0.25}
"""Of the teacher's units, by student; the paper's are 512, 256 and 128 of 500."""

FULL_EPOCHS = 15
"""Of every training of weights at budget 1, the paper's number."""
FULL_POINTS_EPOCHS = 3
"""Of moving DQ's points at budget 1, the paper's number."""
LEARNING_RATE = 3e-3
POINTS_LEARNING_RATE = 1e-4
TEACHER_DROPOUT = 0.3
STUDENT_DROPOUT = 0.1

LAYOUT = Layout(
    quality_of("bleu"),
    {
        "fp": (FULL_PRECISION,),
        "kd": (FULL_PRECISION,),
        "seq": (FULL_PRECISION,),
        "pm": BITS,
        "pm256": BITS,
        "qd": BITS,
        "dq": BITS,
    },
    (*chain(BITS), (("qd", 2), ("dq", 2)), (("seq", FULL_PRECISION), ("kd", FULL_PRECISION))),
    published={},
)

PAPER_NETWORKS = {TEACHER: (2, 500, 84.8), 1: (1, 512, 81.6), 2: (1, 256, 64.9), 3: (1, 128, 57.2)}
"""Layers, units and millions of parameters of the paper's networks for the OpenNMT integration test, as their
configuration gives them with vocabularies of 50,000 words each and embeddings of 500."""


@dataclass(frozen=True)
class TranslationSettings(Settings):
    """Further attributes:

    units: of the teacher's layers and of all embeddings.
    vocabulary: subwords, special tokens included.
    batch_tokens: most tokens of a training batch in its longer side.
    """

    units: int = 256
    vocabulary: int = 8000
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.students) <= UNITS_SHARE.keys():
            raise ValueError(f"students must be some of 1, 2 and 3, got students={self.students}")


# What is trained


def training(settings: Settings) -> Training:
    """How students are trained; text is not augmented, so the teacher is asked in one view."""
    return Training(
        max(2, round(FULL_EPOCHS * settings.epoch_share)),
        max(1, round(FULL_POINTS_EPOCHS * settings.epoch_share)),
        LEARNING_RATE,
        POINTS_LEARNING_RATE,
        views=1,
        bits=BITS,
        points_bits=BITS,
        temperature=1.0,
    )


def network(settings: TranslationSettings, number: int) -> LSTM:
    """The teacher, or a student with the teacher's embeddings."""
    rate = TEACHER_DROPOUT if number == TEACHER else STUDENT_DROPOUT
    return LSTM(
        depth=2 if number == TEACHER else 1,
        units=settings.units if number == TEACHER else max(1, round(UNITS_SHARE[number] * settings.units)),
        embedding=settings.units,
        dropout=round(settings.epoch_share * rate, 4),
    )


def plan(task: TextPairs, settings: TranslationSettings) -> list[Job]:
    """All jobs in the order they should start: the teacher, then the smallest student, seed by seed."""
    how = training(settings)
    teacher = methods.full_precision(how.setting(task, network(settings, TEACHER)), optimizer=how.optimizer)
    lesson = Lesson(teacher.recipe_id, TeacherTranslations(task, teacher.recipe_id))
    jobs = [teacher_job(teacher, how.views, (lesson,))]
    for student in sorted(settings.students, reverse=True):
        model = network(settings, student)
        for seed in settings.seeds:
            jobs += student_jobs(task, model, teacher, how, student, seed)
            jobs.append(sequence_job(task, model, teacher, how, student, seed, lesson))
    return in_starting_order(jobs)


def sequence_job(
    task: TextPairs, model: LSTM, teacher: Recipe, how: Training, student: int, seed: int, lesson: Lesson
) -> Job:
    """Training on the teacher's own translations of the training sources."""
    recipe = methods.sequence_level_distillation(
        how.setting(task, model, teacher, seed), quantizer=NoQuantizer(), optimizer=how.optimizer
    )
    cell = Cell(student, "seq", FULL_PRECISION, seed, recipe)
    return Job(f"{job_name(student, seed)}: seq", (cell,), needs="teacher", lesson=lesson)


def time_search(cell: Cell, data: bytes, loaded: LoadedTask) -> Mapping[str, float]:
    """``search_seconds`` that the reported search takes of all ``sentences`` of the test split.

    Asked of one cell per architecture and seed: in how many bits weights were stored does not matter.
    """
    if cell.method != "fp":
        return {}
    student = open_student(data)[1].to(loaded.device)
    begin = time.perf_counter()
    with torch.inference_mode():
        found = cast(LoadedText, loaded).translations(student, "test")
    return {"search_seconds": round(time.perf_counter() - begin, 2), "sentences": len(found)}


# The sentences


def prepare_pairs(source: Path, share: float, out: Path) -> Path:
    """The folder to train on: ``source`` itself, or a copy under ``out`` with fewer training pairs.

    Args:
        source: see :class:`trainables.tasks.TextPairs`.
        share: of the training pairs, in (0, 1]; validation and test are kept whole.
        out: where copies are made, once per content and share.

    Raises:
        DataError: ``source`` holds no such files.
    """
    if share >= 1.0:
        return source
    whole = TextPairs.scan(source)
    chosen = out / f"pairs-{whole.digest}-{share:.6f}"
    if not chosen.exists():
        with TemporaryDirectory(dir=out) as beside:
            copy = Path(beside) / "pairs"
            copy.mkdir()
            languages = (whole.source, whole.target)
            for stem in ("train", whole.validation, whole.test):
                pairs = read_pairs(source, stem, languages, whole.max_length)
                kept = list(zip(pairs.source, pairs.target, strict=True))
                if stem == "train":
                    kept = [kept[i] for i in thinned(["\t".join(pair) for pair in kept], share)]
                for language, lines in zip(languages, zip(*kept, strict=True), strict=True):
                    text = "".join(f"{line}\n" for line in lines)
                    (copy / f"{stem}.{language}").write_bytes(text.encode())
            copy.rename(chosen)
    return chosen


# The table


def translation_markdown(
    cells: Cells, settings: TranslationSettings, signatures: Mapping[str, str], students: Mapping[int, str]
) -> str:
    """What all tables show, then networks, ratios by the paper's count, and speeds."""
    lines = [
        markdown(cells, LAYOUT, students),
        *(f"{metric}: `{signature}`" for metric, signature in sorted(signatures.items())),
        "",
        "The orderings are those of the paper's image tables, the last one that of Kim & Rush (2016). No "
        "published BLEU stands beside these: the paper's is multi-bleu.perl on lower-cased tokens of other "
        "corpora. Its networks, by their configuration, beside these:",
        "",
        "| network | layers | units | parameters | the paper's layers | units | parameters |",
        "|---|---|---|---|---|---|---|",
    ]
    for number in (TEACHER, *students):
        model = network(settings, number)
        layers, units, millions = PAPER_NETWORKS[number]
        lines.append(
            f"| {'teacher' if number == TEACHER else students[number]} | {model.depth} | {model.units} "
            f"| {parameters(model, settings.vocabulary):,} | {layers} | {units} | {millions} M |"
        )
    lines += [
        "",
        "Times smaller than the student's own full precision from labels, mean over the seeds (by the "
        "paper's count of bits and scales, before Huffman coding):",
        "",
        *grid(LAYOUT, students, lambda student, kind: _ratio(cells, student, kind)),
        "",
        "Target tokens trained on per second, padding excluded, mean over the seeds:",
        "",
        *grid(
            LAYOUT,
            students,
            lambda student, kind: mean(cells, student, kind, "training_rows_per_second", ",.0f"),
        ),
        "",
        "Seconds of a beam search of 5 over the test sentences, mean ± standard deviation over the seeds:",
        "",
        "| network | sentences | seconds |",
        "|---|---|---|",
    ]
    kind = ("fp", FULL_PRECISION)
    for number in (TEACHER, *students):
        seconds = by_seed(cells, number, kind, "search_seconds").values()
        name = "teacher" if number == TEACHER else students[number]
        lines.append(f"| {name} | {mean(cells, number, kind, 'sentences', ',.0f')} | {figure(seconds)} |")
    return "\n".join(lines) + "\n"


def parameters(model: LSTM, vocabulary: int) -> int:
    """Of the network that ``model`` builds, tied ones counted once."""
    with torch.device("meta"):
        built = model.build((vocabulary,), vocabulary)
    return sum(parameter.numel() for parameter in built.parameters())


def paper_ratio(kind: Kind) -> float:
    """How many times smaller than 32 bits a weight the paper counts a method's weights."""
    method, bits = kind
    scales = 0.0 if method == "pm" or bits == FULL_PRECISION else 2 * 32 / BUCKET_SIZE
    return 32 / (bits + scales)


def _ratio(cells: Cells, student: int, kind: Kind) -> str:
    whole = by_seed(cells, student, ("fp", FULL_PRECISION), "packed_bytes")
    packed = by_seed(cells, student, kind, "packed_bytes")
    both = sorted(whole.keys() & packed.keys())
    if not both:
        return "-"
    ratio = sum(whole[seed] / packed[seed] for seed in both) / len(both)
    return f"{ratio:.2f} ({paper_ratio(kind):.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing and write ``table.json`` and ``table.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, tuple(UNITS_SHARE), "folder of line-aligned text, such as Multi30k's raw folder")
    parser.add_argument("--units", type=int, default=256, help="of the teacher; the paper's are 500")
    parser.add_argument("--vocabulary", type=int, default=8000, help="subwords of both languages")
    parser.add_argument(
        "--batch-tokens",
        type=int,
        default=4096,
        help="of a training batch; with few epochs, small batches make more steps",
    )
    given = parser.parse_args(arguments)
    try:
        settings = TranslationSettings(
            tuple(given.students),
            tuple(given.seeds),
            given.budget,
            given.device,
            units=given.units,
            vocabulary=given.vocabulary,
            batch_tokens=given.batch_tokens,
        )
        (given.out / "cells").mkdir(parents=True, exist_ok=True)
        pairs = prepare_pairs(given.data, settings.data_share, given.out)
        task = TextPairs.scan(pairs, vocabulary_size=settings.vocabulary, batch_tokens=settings.batch_tokens)
        how, jobs, device = training(settings), plan(task, settings), torch.device(settings.device)
        arrays_of(task, pairs)  # a vocabulary that the text does not support is found before training
    except (DataError, OSError, ValueError) as error:
        parser.error(str(error))
    run = functools.partial(run_job, data=pairs, device=device, out=given.out, measure=time_search)
    print(f"{len(jobs)} trainings: {how.epochs} epochs of {pairs}", flush=True)
    run_all(jobs, run, given.out, given.workers)
    cells = collect(jobs, given.out)
    facts = {
        "settings": asdict(settings) | {"epochs": how.epochs, "points_epochs": how.points_epochs},
        "machine": machine(device),
        "signatures": task.signatures(),
    }
    students = {
        number: f"{number}: 1 layer, {network(settings, number).units} units" for number in settings.students
    }
    text = translation_markdown(cells, settings, task.signatures(), students)
    write_report(given.out, facts, cells, LAYOUT, students, text)


if __name__ == "__main__":
    main()
