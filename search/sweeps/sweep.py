"""One sweep from start to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import optuna
import ray

from search.clusters.machine import Machine, start_ray
from search.clusters.temporary import keep_torch_private, own_folder
from search.log.event_log import Event
from search.log.events import SWEEP
from search.objectives.mark import RuntimeMark
from search.options import Options, go_on_with
from search.planning.first_trials import first_trials
from search.planning.limits import fitting_points
from search.reporter import Reporter
from search.sampling.continuing import continue_study
from search.sampling.searcher import EARLIER, Judge, OptunaSearcher
from search.sampling.warm_start import Known, Reading, look_back
from search.stopping.freezing import FreezeThawScheduler
from search.store.mlflow_client import FRONT_TAG, METRIC_TAG, NOTE_TAG
from search.store.store import open_store
from search.sweeps.answering import keep_answers
from search.sweeps.conclusion import finish_sweep, tell_front, tell_settings
from search.sweeps.ending import closing_sweep, end_early
from search.sweeps.halt import Halt, Signals
from search.sweeps.measuring import choose_front, measure_front
from search.sweeps.preparing import Prepared, prepare
from search.sweeps.publish import publish
from search.sweeps.ray_watch import watched
from search.sweeps.records import lost_trials, records_of, replay
from search.sweeps.request import Request, read_request
from search.sweeps.settings import check_same
from search.sweeps.trial_events import TrialEvents
from search.sweeps.trials import Searched, make_scheduler, run_trials
from search.tracking.record import Record, drawn
from search.tracking.tracker import SweepTracker
from search.tracking.trained import Allowance, Ledger
from search.tracking.values import signature_tags
from search.units import count, show_number
from studies.study import Study
from trainables.metrics import Quality
from trainables.recipe import Recipe
from trainables.training.checkpoint import CHECKPOINT_FILE


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    Attributes:
        records: every trial, by its id.
        front: trial ids on the front, smallest first.
        quality: what selected the students.
        teacher: the teacher's qualities on both splits, by the names they are logged under, and
            ``packed_bytes``.
        mark: what ONNX Runtime's own quantization made of the teacher.
        undelivered: what MLflow lacks and how to deliver it; empty if it has everything.
        short: why there were fewer trials than asked for; empty if there were not.
    """

    records: Mapping[str, Record]
    front: tuple[str, ...]
    quality: Quality
    teacher: Mapping[str, float]
    mark: RuntimeMark
    undelivered: str
    short: str


def run_sweep(
    study: Study,
    options: Options,
    reporter: Reporter,
    report: Callable[[str], str],
    *,
    resume: bool = False,
) -> Outcome:
    """Search ``study`` and leave trials, front and report in the store.

    Whatever ends it, it can go on: trials that had not ended are started again from their own folders, what
    comes before them is repeated from what it left in the store.

    Args:
        study: what to search.
        options: how.
        reporter: hears of the progress.
        report: renders the page of a finished sweep, given its name.
        resume: go on with the sweep of this name, of which the store has a log.

    Raises:
        Problem: something the user can put right; nothing is written, except where a cluster refuses.
        DataError: the data is not usable.
        StoreError, SweepExists: the store cannot be written, or has a sweep of that name.
        RayDied: a process of Ray's has ended; the interpreter may not end by itself any more.
        KeyboardInterrupt: the user stopped it.
    """
    keep_torch_private()  # the smallest student is tried out before there is a folder of the sweep's own
    request = read_request(study, options, reporter, resume=resume)
    settings, note, again = request.to_go_on(), request.note, go_on_with(options)
    halt = Halt()
    signals = Signals(halt, f"Left at once. Go on with: {again}")
    own = nullcontext(None) if options.address is not None else own_folder()
    with request.folder.claimed(), signals.handled(), own as temporary:
        before = request.folder.events()
        for text in check_same(options.name, before[0]["settings"], settings) if resume else ():
            reporter.say(text)
        reporter.say("opening the store")
        tracker = SweepTracker(options.tracking_uri, options.store, study.name, options.name)
        tags = {METRIC_TAG: request.task.metric, NOTE_TAG: note, **signature_tags(request.task.signatures())}
        tracker.open(params=request.params, tags=tags, settings=settings, resume=resume)
        with closing_sweep(tracker, note, again):
            if resume:
                tracker.go_on(note)
            tell_settings(
                tracker, study, request.context, request.params, request.teacher_recipe, request.notes
            )
            reporter.say("starting Ray")
            machine = start_ray(options, temporary)
            signals.install()  # Ray's own handler prints a crash report and aborts
            driver = _Driver(request, before, tracker, machine, reporter, signals, halt)
            with watched(signals, again, lambda error: end_early(tracker, error, note)):
                outcome = driver.search()
            yardstick = replace(request.yardstick, teacher=outcome.teacher)
            finish_sweep(
                tracker, outcome.records, outcome.front, yardstick, note, outcome.short, outcome.mark
            )
            reporter.say("delivering to MLflow")
            return replace(outcome, undelivered=publish(tracker, options.name, report))


@dataclass(frozen=True)
class _Driver:
    """Searches for one sweep whose log is open and whose Ray has started.

    Attributes:
        request: what the sweep was asked for.
        before: what the log had when it was opened.
        tracker: of the sweep.
        machine: what there is to run on.
        reporter: hears of the progress.
        signals: wait while trials run.
        halt: ends them.
    """

    request: Request
    before: Sequence[Event]
    tracker: SweepTracker
    machine: Machine
    reporter: Reporter
    signals: Signals
    halt: Halt

    def search(self) -> Outcome:
        """From the teacher to the measured front."""
        prepared = prepare(self.request, self.before, self.machine, self.tracker, self.reporter)
        records, short = self._run_trials(prepared)
        for path in self.request.folder.trials.glob(f"*/{CHECKPOINT_FILE}"):
            path.unlink()  # of trials that will not go on any more
        return self._measure(prepared, records, short)

    def _run_trials(self, prepared: Prepared) -> tuple[dict[str, Record], str]:
        """The records of all trials, and why there are fewer than asked for; empty if there are not."""
        request, options, yardstick = self.request, self.request.options, prepared.yardstick
        space, judge = request.study.space, Judge(yardstick.objectives, yardstick.constraints)

        def draw(trial: optuna.trial.BaseTrial) -> Recipe:
            return space(trial, prepared.context)

        parameters = space.parameters(prepared.context)
        here, there = yardstick.timed_here, yardstick.on_device
        reading = Reading(draw, parameters, request.sampler, judge, here, options.device, there)
        known = self._look_back(reading)
        records = records_of(self.before, options.store, yardstick.quality)
        continued = continue_study(
            request.folder.journal, options.name, yardstick.directions, drawn(records), known.trials, judge
        )
        if continued.text:
            self.reporter.say(continued.text)
        points = fitting_points(space, prepared.context, request.opened, options.budget)
        if request.sampler.models:
            points = first_trials(space, prepared.context, points, bool(options.budget.limits))
        copied = sum(EARLIER in trial.user_attrs for trial in continued.study.get_trials(deepcopy=False))
        allowance = Allowance(Ledger(), options.trainings, options.trials + continued.lost)
        last = copied + options.trials + continued.lost
        searched = Searched(draw, parameters, continued.study, len(points), last, self.reporter.say)
        model = searched if request.sampler.models else None
        scheduler = make_scheduler(yardstick, options, model, allowance, prepared.context.epochs)
        replay(self.before, scheduler)
        searcher = OptunaSearcher(
            continued.study,
            draw,
            judge,
            trials=options.trials + continued.lost,
            parameters=parameters,
            seed=options.seed,
            sampler=request.sampler,
            starting_points=points,
            revisits=scheduler,
            used_up=allowance.used_up,
            recipes={name: record.recipe for name, record in records.items()},
            model=scheduler.proposals if isinstance(scheduler, FreezeThawScheduler) else None,
        )
        events = TrialEvents(
            self.tracker,
            self.reporter,
            yardstick,
            records=records,
            halt=self.halt,
            beside=prepared.marking.look,
            answers=prepared.answers,
        )
        lost = lost_trials(records, continued.study)
        self._leave_out(lost, records)
        for name in lost:  # as whoever goes on after this will hear it from the log
            scheduler.ended(name, "failed")
        self.reporter.say("training students" + prepared.why_live)
        measured = {recipe_id: ray.put(copy) for recipe_id, copy in known.copies.items()}
        inputs = replace(prepared.inputs, measured=measured)
        with self.signals.deferred():
            run_trials(searcher, scheduler, events, inputs, options, self.machine)
        short = _why_short(len(drawn(events.records)), allowance, searcher.exhausted)
        if short:
            self.reporter.say(short)
        return events.records, short

    def _look_back(self, reading: Reading) -> Known:
        """What the earlier sweeps know that this one learns from."""
        request, options = self.request, self.request.options
        if not request.earlier:
            return Known()
        store = open_store(options.store, options.tracking_uri)
        known = look_back(store, request.earlier, request.folder.journal.parent, reading)
        self.reporter.say(known.text)
        return known

    def _leave_out(self, lost: Mapping[str, str], records: Mapping[str, Record]) -> None:
        """End trials that are lost as failed, and say so: the rest of the sweep needs none of them."""
        for trial_id, why in lost.items():
            record = records[trial_id]
            record.state, record.reason, record.packed_file, record.front = "failed", why, None, False
            self.tracker.finish_trial(trial_id, "failed", {}, {"reason": why, FRONT_TAG: "false"}, {})
        if lost:
            named = ", ".join(list(lost)[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
            self.reporter.say(f"leaving out {count(len(lost), 'trial')} whose students are lost: {named}")

    def _measure(self, prepared: Prepared, records: dict[str, Record], short: str) -> Outcome:
        """Choose the front, measure it and the teacher on the test split, and tell the store."""
        self.reporter.say("measuring the front on the test split")
        yardstick, inputs = prepared.yardstick, prepared.inputs
        front = choose_front(records, yardstick)
        marking, task = prepared.marking, self.request.task
        mark = marking.finish()
        found, said = measure_front(front, records, inputs.arrays, task, inputs.settings, mark)
        marking.add(found)
        marking.measure(prepared.teacher_file, inputs.arrays, task, inputs.settings)
        teacher = {**yardstick.teacher, **prepared.evaluate_teacher("test")}
        keep_answers(said, records, prepared.answers)
        self.tracker.annotate(SWEEP, {}, {}, prepared.answers.files)
        tell_front(self.tracker, records, front, replace(yardstick, teacher=teacher))
        quality = yardstick.quality
        return Outcome(records, tuple(front), quality, teacher, marking.mark, undelivered="", short=short)


def _why_short(trials: int, allowance: Allowance, exhausted: bool) -> str:
    """Said of a sweep that ran out of recipes, or of trials before it had trained enough; else empty."""
    wanted = f"{trials} of {count(int(allowance.trials), 'trial')}"
    if allowance.trainings is not None:
        done = show_number(allowance.ledger.spent())
        wanted = f"{count(trials, 'trial')} and {done} of {count(int(allowance.trainings), 'training')}"
    if exhausted:
        return (
            f"ended after {wanted}: none of the space's recipes is left, or hardly any, and one that was "
            "tried already would become the same student again"
        )
    if allowance.trainings is None or allowance.used_up():
        return ""
    return f"ended after {wanted}: it may have no more trials, which --trials says"
