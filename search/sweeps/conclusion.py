"""What MLflow is told of a sweep beside its trials: what was asked for, and what was found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import distribution_to_json

from search.log.folder import FRONT_FILE, SETTINGS_FILE
from search.objectives.aliases import Candidate, aliases
from search.objectives.certainty import SURENESS
from search.objectives.costs import cost_of
from search.objectives.families import families_text
from search.objectives.mark import MARK_NAME, MARK_TAG, NO_MARK, RuntimeMark
from search.objectives.on_split import most_lost
from search.objectives.yardstick import Yardstick
from search.options import amount_in_words
from search.planning.compute import epochs_in_words
from search.sampling.names import BY_TRAININGS
from search.store.mlflow_client import NOTE_TAG
from search.sweeps.answering import kept_file
from search.sweeps.settings import code_version, to_json
from search.tracking.delivery import SWEEP
from search.tracking.notes import in_short, on_validation, plain, sweep_note, trial_note
from search.tracking.record import Record, kept_metrics, standing
from search.tracking.tracker import SweepTracker
from spaces import Context
from studies.study import Study
from trainables.files import write_file
from trainables.metrics.base import VALIDATION
from trainables.naming import summary
from trainables.recipe import Recipe
from trainables.tasks.notes import DataNotes
from trainables.wording import in_words

SCHEDULERS = {
    "pareto": "those without a prospect end early",
    "revive": "those without a prospect end early, and are taken up again once they have one",
    "none": "all trained to the end",
}
MODELLED = dict.fromkeys(SCHEDULERS, SCHEDULERS["none"]) | {
    "revive": "the hopeless end early, and may be taken up again"
}
"""The same where a model of all trials decides."""


def asked(
    study: Study,
    params: Mapping[str, Any],
    teacher: Recipe,
    yardstick: Yardstick,
    left_out: Mapping[str, str],
) -> str:
    """What a sweep was asked for, as Markdown.

    Args:
        study: what it searches.
        params: of its parent run.
        teacher: how the teacher is trained.
        yardstick: of the sweep.
        left_out: methods that its task refuses, by name, and why.
    """
    quality, limits = yardstick.quality, yardstick.budget.text(yardstick.quality)
    *others, last = [cost_of(quality, name).label for name in yardstick.costs]
    wanted = f"{', '.join([quality.label, *others])} and {last}"
    amount = amount_in_words(params["trials"], params.get("trainings"))
    trials = f"{amount} of {epochs_in_words(study.epochs, params.get('compute'))}"
    facts = [
        f"Study {study.name}: {trials}, for {wanted}",
        f"drawn by {params['sampler']} with the seed {params['seed']}",
        (MODELLED if params["sampler"] in BY_TRAININGS else SCHEDULERS)[params["scheduler"]],
        f"limits: {limits or 'none'}",
    ]
    if params["earlier"]:
        facts.append(f"learnt from {', '.join(params['earlier'])}")
    facts += [
        f"{word}: {', '.join(params[name])}"
        for name, word in (("methods", "methods"), ("fixed", "fixed"), ("ranges", "ranges"))
        if params[name]
    ]
    return "\n\n".join(
        [
            f"{plain('; '.join(facts))}.",
            *(f"{plain(each[0].upper() + each[1:])}." for each in refusals(left_out)),
            f"Teacher: {plain(in_words(teacher))}",
        ]
    )


def refusals(left_out: Mapping[str, str]) -> list[str]:
    """Which methods are left out, and why: one text per reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason.partition(", got ")[0], []).append(name)
    return [f"left out: {', '.join(names)} ({reason})" for reason, names in reasons.items()]


def tell_settings(
    tracker: SweepTracker,
    study: Study,
    context: Context,
    params: Mapping[str, Any],
    teacher: Recipe,
    notes: DataNotes,
) -> None:
    """Keep what the sweep searches as :data:`SETTINGS_FILE` of the parent run; no paths of this machine."""
    ranges = study.space.parameters(context)
    content = {
        "study": study.name,
        "metric": context.task.metric,
        "settings": dict(params),
        "task": context.task.to_dict(),
        "data": to_json(notes),
        "teacher": teacher.to_dict(),
        "parameters": {name: json.loads(distribution_to_json(each)) for name, each in ranges.items()},
        "code": code_version(),
    }
    write_file(tracker.folder.settings, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
    tracker.annotate(SWEEP, {}, {}, {SETTINGS_FILE: tracker.folder.settings})


def tell_front(
    tracker: SweepTracker, records: Mapping[str, Record], front: Sequence[str], yardstick: Yardstick
) -> None:
    """Say of each trial on the front what it is, and of each that was told to be there that it is not.

    Args:
        tracker: of the sweep.
        records: every trial; those on the front with what was measured of them last.
        front: trial ids.
        yardstick: with the teacher's qualities on both splits.
    """
    quality = yardstick.quality
    last = {*(each.name for each in quality.reported), "latency_ms", *(cost.name for cost in quality.costs)}
    last |= {name for name in SURENESS if not name.startswith(VALIDATION)}
    for trial_id, record in records.items():
        was, record.front = record.front, trial_id in front
        if not (was or record.front):
            continue
        record.over = yardstick.over(record.metrics)
        metrics = {name: value for name, value in record.metrics.items() if name in last}
        tags = standing(record) | {NOTE_TAG: trial_note(record.described(), yardstick)}
        if record.front:
            tags["latency_machine"] = record.machine
        files = kept_file(record) if record.front else {}
        tracker.annotate(trial_id, metrics if record.front else {}, tags, files)


def finish_sweep(
    tracker: SweepTracker,
    records: Mapping[str, Record],
    front: Sequence[str],
    yardstick: Yardstick,
    about: str,
    short: str,
    mark: RuntimeMark = NO_MARK,
) -> None:
    """End the parent run: the teacher, the front in words and as a table, the students to be registered.

    Args:
        tracker: of the sweep.
        records: every trial.
        front: trial ids, smallest file first.
        yardstick: with the teacher's qualities on both splits.
        about: of :func:`asked`.
        short: why there were fewer trials than asked for; empty if there were not.
        mark: what ONNX Runtime's own quantization made of the teacher; default nothing is known of it.
    """
    quality = yardstick.quality
    candidates = {
        trial_id: Candidate(
            trial_id,
            metrics[yardstick.size],
            metrics[quality.validation],
            most_lost(metrics, yardstick.teacher, quality),
        )
        for trial_id in front
        for metrics in [records[trial_id].metrics]
    }
    chosen = aliases(candidates, quality, yardstick.teacher_validation)
    described = {trial_id: record.described() for trial_id, record in records.items()}
    about = f"The sweep {plain(short)}.\n\n{about}" if short else about
    about = f"{MARK_NAME}: {plain(told)}.\n\n{about}" if (told := mark.text(quality)) else about
    models = [summary(records[trial_id].recipe)["model"] for trial_id in front]
    sizes = [records[trial_id].metrics[yardstick.size] for trial_id in front]
    told = families_text([*zip(models, sizes, strict=True)])
    about = f"{plain(told)}.\n\n{about}" if told else about
    write_file(tracker.folder.front, front_csv(records, front, yardstick, chosen, mark).encode())
    facts = {f"teacher_{name}": value for name, value in yardstick.teacher.items()} | mark.metrics
    tracker.finish_sweep(
        "finished",
        {**facts, "front_size": len(front)},
        {NOTE_TAG: sweep_note(about, described, front, yardstick, chosen), "reason": short or None}
        | ({MARK_TAG: mark.tag} if mark.tag else {}),
        {FRONT_FILE: tracker.folder.front},
        aliases=chosen,
        descriptions={
            trial_id: f"{records[trial_id].name}: {in_short(records[trial_id].metrics, yardstick)}. "
            f"{on_validation(records[trial_id].metrics, yardstick)}"
            for trial_id in sorted(set(chosen.values()))
        },
    )


def front_csv(
    records: Mapping[str, Record],
    front: Sequence[str],
    yardstick: Yardstick,
    chosen: Mapping[str, str],
    mark: RuntimeMark = NO_MARK,
) -> str:
    """The front as CSV, smallest file first; numbers as measured, empty where nothing was.

    Columns: trial, name, the handles of :func:`trainables.recipe.summary` (sparsity as ``sparsity_target``),
    the qualities on both splits, the costs, recipe_id, aliases (separated by spaces), and, in every row the
    same, what is known of the ``mark``, as ``onnxruntime_int8_...``.
    """
    quality, kept = yardstick.quality, kept_metrics(yardstick.quality)
    metrics = [*kept.qualities, *(each.name for each in quality.reported), *kept.costs]
    rows = []
    for trial_id in front:
        record = records[trial_id]
        facts = summary(record.recipe)
        facts["sparsity_target"] = facts.pop("sparsity")
        rows.append(
            {
                "trial": trial_id,
                "name": record.name,
                **facts,
                **{name: record.metrics.get(name) for name in metrics},
                "recipe_id": record.recipe.recipe_id,
                "aliases": " ".join(alias for alias, of in chosen.items() if of == trial_id),
                **mark.metrics,
            }
        )
    text = io.StringIO()
    heads = list(rows[0]) if rows else ["trial", "name", *metrics, "recipe_id", "aliases", *mark.metrics]
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
