"""The numbers that every version knows by name. Importing this loads no torch."""

from trainables.metrics.base import Metric, Quality

QUALITIES: tuple[Quality, ...] = (
    Quality("accuracy", "accuracy", "up", "Share of inputs whose class is found.", 0.0, 1.0, 100.0, "%"),
    Quality(
        "bleu",
        "BLEU",
        "up",
        "sacreBLEU's score of plain text; greedy on validation, a beam on test.",
        0.0,
        100.0,
        beside=(
            Quality("chrf", "chrF", "up", "sacreBLEU's chrF2 of the same translations.", 0.0, 100.0),
            Quality(
                "perplexity",
                "perplexity",
                "down",
                "Exponential of the negative log-likelihood per target token.",
                1.0,
                float("inf"),
            ),
        ),
        costs=(
            Metric(
                "latency_beam_ms",
                "latency with a beam of 5",
                "down",
                "ms",
                "10th percentile of the time to translate one sentence with a beam of 5, else as latency_ms.",
                trained_share=1.0,
            ),
        ),
    ),
    Quality(
        "macro_f1", "macro F1", "up", "F1 of each class, averaged over the classes.", 0.0, 1.0, 100.0, "%"
    ),
    Quality(
        "balanced_accuracy",
        "balanced accuracy",
        "up",
        "Share of each class that is found, averaged over the classes.",
        0.0,
        1.0,
        100.0,
        "%",
    ),
    Quality(
        "area_under_curve",
        "area under the curve",
        "up",
        "Area under the receiver operating characteristic of each class, averaged over the classes.",
        0.0,
        1.0,
        100.0,
        "%",
    ),
    Quality(
        "mean_absolute_error",
        "mean absolute error",
        "down",
        "Mean distance of outputs from targets, in the unit of the targets.",
        0.0,
        float("inf"),
    ),
    Quality(
        "mean_squared_error",
        "mean squared error",
        "down",
        "Mean squared distance of outputs from targets, in the squared unit of the targets.",
        0.0,
        float("inf"),
    ),
)
"""By which students are selected, of those that have a name; :func:`own_quality` makes others."""

COSTS: tuple[Metric, ...] = (
    Metric(
        "packed_bytes", "packed size", "down", "B", "Length of the packed file, with all in it.", True, 0.6
    ),
    Metric(
        "compression_ratio",
        "compression",
        "up",
        "x",
        "Length of the teacher's full-precision packed file over the length of this one.",
    ),
    Metric(
        "onnx_bytes",
        "ONNX size",
        "down",
        "B",
        "Length of all ONNX files that the student is exported to.",
        True,
        0.6,
    ),
    Metric(
        "ram_bytes",
        "activation memory",
        "down",
        "B",
        "The most bytes that tensors other than constants take at once in the exported graph, for what "
        "latency_ms is of; of a student with early exits, for an input that takes the most.",
        True,
        1.0,
    ),
    Metric(
        "latency_ms",
        "latency",
        "down",
        "ms",
        "10th percentile of the time for one input in ONNX Runtime on one thread of this machine; of a "
        "translator, for a sentence of 16 tokens, translated greedily into 16; of a student with early "
        "exits, the mean over the validation split.",
        trained_share=1.0,
    ),
    Metric(
        "macs",
        "multiply-adds",
        "down",
        "",
        "Multiply-accumulate operations for what latency_ms is of: one input, or one sentence of 16 tokens; "
        "of a student with early exits, the mean over the validation split.",
        True,
        1.0,
    ),
    Metric(
        "full_macs",
        "multiply-adds of the whole network",
        "down",
        "",
        "As macs, of an input that leaves at no early exit.",
        True,
        1.0,
    ),
    Metric(
        "early_share",
        "inputs that leave early",
        "up",
        "",
        "Share of the validation split that an early exit answers; in [0, 1], and 0 without early exits.",
    ),
    Metric(
        "sparsity",
        "sparsity",
        "up",
        "",
        "Share of weights, in tensors of two or more dimensions, that the mask drops; in [0, 1].",
    ),
    Metric(
        "mean_bits",
        "bits per weight",
        "down",
        "bit",
        "Stored bits per weight in tensors of two or more dimensions, with scales, codebooks and masks.",
    ),
    Metric(
        "parameters", "parameters", "down", "", "Elements of all tensors, dropped ones included.", True, 1.0
    ),
    Metric("seconds", "time", "down", "s", "From a trial's first epoch to its last measurement."),
)
"""What every trial reports beside its quality."""

OF_THE_FRONT: tuple[Metric, ...] = (
    Metric(
        "latency_openvino_ms",
        "latency in OpenVINO",
        "down",
        "ms",
        "As latency_ms, in OpenVINO with the student's own arithmetic; of a finished sweep's front, where "
        "OpenVINO is installed.",
    ),
)
"""What is measured once a sweep has ended, of the students on its front; nothing is searched by it."""

METRICS: tuple[Metric, ...] = (
    Metric("loss", "training loss", "down", "", "Mean of an epoch, of all terms that are minimised."),
    Metric("trained", "training done", "down", "", "Share of its training that a trial did, at least 0.1."),
    *(metric for quality in QUALITIES for metric in quality.metrics),
    *COSTS,
    *OF_THE_FRONT,
)
"""Every number that is logged to a trial's run."""
