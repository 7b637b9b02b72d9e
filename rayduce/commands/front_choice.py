"""Which sweep a user means who names none, and what is said of one without a front."""

from __future__ import annotations

from search.store.store import Store
from search.store.sweep import Sweep
from search.units import count


def newest_with_students(store: Store) -> Sweep:
    """The newest sweep that has a finished trial; the newest of all if none has.

    Raises:
        UnknownSweep: the store has no sweep.
    """
    for name in store.sweeps()["name"]:
        if (store.trials(name)["state"] == "finished").any():
            return store.sweep(name)
    return store.sweep()


def why_no_front(store: Store, sweep: Sweep) -> str:
    """One sentence on a sweep whose front is empty: what it waits for, or why none will come."""
    trials = store.trials(sweep.name)
    states = trials["state"].value_counts()
    finished, running = int(states.get("finished", 0)), int(states.get("running", 0))
    if finished:
        students, limits = count(finished, "student"), sweep.budget.text(sweep.quality)
        return f"None of the {students} of the sweep {sweep.name} is within its budget, {limits}."
    if sweep.state != "running":
        return f"The sweep {sweep.name} has {sweep.state} without a student."
    if running:
        waited_for = f"the first of {count(running, 'trial')} in training"
        return f"The sweep {sweep.name} has no student yet: it waits for {waited_for}."
    return f"The sweep {sweep.name} has no student yet: it waits for its teacher."
