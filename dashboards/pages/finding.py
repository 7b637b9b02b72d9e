"""Which trial an address means."""

from __future__ import annotations

import re

import pandas as pd

from dashboards.address import asked
from dashboards.live import Live
from search.store.sweep import Sweep

TRIAL = "/trial"
ADDRESS = re.compile(r"/trial/([0-9a-f]{32})")


def find_linked(live: Live, path: str | None) -> tuple[Sweep, pd.DataFrame, int] | None:
    """The trial whose run id is in the address; None if there is none. Else as :func:`find_trial`."""
    match = ADDRESS.fullmatch(path or "")
    return live.find(match[1]) if match else None


def find_trial(
    live: Live, path: str | None, name: str | None, search: str | None
) -> tuple[Sweep, pd.DataFrame, int] | None:
    """The trial of the address; without one, the front's best of the sweep on show.

    Args:
        live: what is read.
        path: of the address: it may have a run id.
        name: of the sweep on show.
        search: what stands behind the path: it may name a trial of that sweep.

    Returns:
        Its sweep, the sweep's trials, and its place among them; None if there is no such trial.

    Raises:
        StoreError: as :meth:`dashboards.live.Live.trials`.
    """
    if ADDRESS.fullmatch(path or ""):
        return find_linked(live, path)
    sweep = live.sweep(name)
    if sweep is None or path != TRIAL:
        return None
    trials = live.trials(sweep)
    if wanted := asked(search).get("trial"):
        places = (trials["trial_id"] == wanted).to_numpy(dtype=bool, na_value=False).nonzero()[0]
        return (sweep, trials, int(places[0])) if len(places) else None
    values = sweep.quality.gain(1.0) * trials[sweep.quality.validation].where(trials["front"])
    if values.isna().all():
        return None
    last = int(values.notna().sum()) - 1  # NaN is sorted last
    return sweep, trials, int(values.to_numpy(dtype=float).argsort()[last])
