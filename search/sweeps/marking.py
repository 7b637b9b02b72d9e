"""When a sweep has ONNX Runtime quantize its teacher, and whom it tells of what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from search.log.event_log import Event
from search.log.events import SWEEP
from search.objectives.mark import MARK_NAME, MARK_TAG, PREFIX, SIZE, RuntimeMark
from search.reporter import Reporter
from search.sweeps.records import sweep_tag
from search.teaching.made import TeacherJobs
from search.teaching.mark import Made, evaluate_mark, keep_mark, kept_mark, make_mark, mark_path
from search.tracking.tracker import SweepTracker
from trainables.exporting.static_int8 import RuntimeInt8
from trainables.foreign import shown
from trainables.metrics import Quality
from trainables.metrics.base import VALIDATION
from trainables.models.allowed import allow_all
from trainables.tasks.base import Arrays, Task
from trainables.training.trial_metrics import TrialSettings

WAIT_SECONDS = 3.0
"""How long the first trial waits for it at most; a large teacher's is made beside the trials."""


@ray.remote(num_cpus=0, max_retries=0)
def _make(file: bytes, arrays: Arrays, task: Task, settings: TrialSettings, kept: RuntimeInt8 | None) -> Made:
    allow_all(settings.own)
    return make_mark(file, arrays, task, kept)


@ray.remote(max_retries=0)
def _evaluate(
    made: RuntimeInt8, file: bytes, arrays: Arrays, task: Task, settings: TrialSettings
) -> dict[str, float]:
    allow_all(settings.own)
    return evaluate_mark(made, file, arrays, task, "test")


class Marking:
    """Makes and measures the mark of one sweep beside its trials; whatever fails of it fails nothing else.

    Args:
        jobs: of the teacher.
        quality: that selects.
        tracker: of the sweep; told of the mark once it is there.
        reporter: hears of it.
        before: the sweep's log, if it goes on.

    Attributes:
        mark: what is known of it so far.
        made: its graphs; None as long as there are none.
    """

    def __init__(
        self,
        jobs: TeacherJobs,
        quality: Quality,
        tracker: SweepTracker,
        reporter: Reporter,
        before: Sequence[Event] = (),
    ) -> None:
        self._jobs, self._quality = jobs, quality
        self._tracker, self._reporter = tracker, reporter
        self._before = _before(before)
        self._running: Any = None
        self.mark = RuntimeMark()
        self.made: RuntimeInt8 | None = None

    def begin(self, file: bytes, task: Task, settings: TrialSettings) -> None:
        """Have it made of the teacher in a packed ``file``, unless it was made and measured before.

        Args:
            file: the trained teacher.
            task: of the sweep.
            settings: say which code of the user's own may be imported.
        """
        jobs = self._jobs
        self._path = mark_path(jobs.store, jobs.recipe, file, jobs.fingerprint)
        kept = kept_mark(self._path)
        known = {SIZE, self._quality.validation} <= self._before.values.keys()
        if kept is not None and known and self._before.values[SIZE] == kept.onnx_bytes:
            self.made, self.mark = kept, self._before
            return
        self._running = _make.remote(file, jobs.data, task, settings, kept)

    def look(self, seconds: float = 0.0) -> None:
        """Tell of it if it has been made by now.

        Args:
            seconds: how long to wait for it; default not at all.
        """
        if self._running is None or not ray.wait([self._running], timeout=seconds)[0]:
            return
        running, self._running = self._running, None
        try:
            made: Made = ray.get(running)
        except RayError as error:  # its process died, or what is the user's own failed in it
            made = Made(None, _why(error), {})
        self._hear(made)

    def finish(self) -> RuntimeInt8 | None:
        """Its graphs, waited for as long as it takes; None if there are none."""
        while self._running is not None:
            self.look(60.0)
        return self.made

    def measure(self, file: bytes, arrays: Any, task: Task, settings: TrialSettings) -> None:
        """The one use of the test split, as for the front.

        Args:
            file: the trained teacher.
            arrays: the data, or a reference to them.
            task: of the sweep.
            settings: see :meth:`begin`.
        """
        if self.made is None:
            return
        try:
            found: dict[str, float] = ray.get(_evaluate.remote(self.made, file, arrays, task, settings))
        except RayError as error:
            self._reporter.say(f"{MARK_NAME} was not measured on the test split: {_why(error)}")
        else:
            self.add(found)

    def add(self, values: Mapping[str, float]) -> None:
        """Note what was measured of it last."""
        self.mark = RuntimeMark(self.mark.way, self.mark.reason, {**self.mark.values, **values})

    def _hear(self, made: Made) -> None:
        if made.quantized is None:
            self.mark = RuntimeMark(reason=made.reason)
        else:
            keep_mark(self._path, made.quantized)
            self.made = made.quantized
            values = {VALIDATION + name: value for name, value in made.qualities.items()}
            self.mark = RuntimeMark(
                made.quantized.way, values={SIZE: float(made.quantized.onnx_bytes), **values}
            )
        self._tracker.annotate(SWEEP, self.mark.metrics, {MARK_TAG: self.mark.tag})
        self._reporter.remark(f"{MARK_NAME}: {self.mark.text(self._quality)}")


def _before(events: Sequence[Event]) -> RuntimeMark:
    """The mark as a sweep's log has it."""
    metrics: dict[str, float] = {}
    for event in events:
        if event["run"] == SWEEP:
            found = event.get("metrics", {})
            metrics |= {name: float(value) for name, value in found.items() if name.startswith(PREFIX)}
    return RuntimeMark.read(sweep_tag(events, MARK_TAG), metrics)


def _why(error: RayError) -> str:
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip().partition("\n")[0].rstrip(".")
    return shown(f"{type(cause).__name__}: {text}" if text else type(cause).__name__, 200)
