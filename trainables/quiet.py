"""What the libraries would send home is switched off, in this process and in all that it starts.

Several of them report usage unless told otherwise, and some begin while they are imported. They are told by
variables of the environment, which processes inherit; the packages ``trainables`` and ``search`` set them
before anything else, so that there is no way to our code, nor to a library through it, that does without.
"""

from __future__ import annotations

import os

NOTHING_IS_SENT = {
    # ONNX Runtime's own library would upload events and keep an id of the device below ~/.cache.
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",  # for whatever honours it
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of libraries that a user's own module may import
}


def send_nothing() -> None:
    """Tell every library of this process, and of those it starts, to send nothing.

    Also where the environment says otherwise: what is promised does not depend on who calls.
    """
    os.environ.update(NOTHING_IS_SENT)
