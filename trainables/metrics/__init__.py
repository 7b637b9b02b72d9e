"""What a trial reports, and how it is measured; one measurement per file. Importing this loads no torch."""

from trainables.metrics.base import Metric

METRICS: tuple[Metric, ...] = (
    Metric(
        "validation_<metric>",
        "validation quality",
        "up",
        "",
        "Quality of the packed student on the validation split, which selects; a share in [0, 1].",
    ),
    Metric(
        "<metric>",
        "test quality",
        "up",
        "",
        "Quality of the packed student on the test split, measured once at the end; a share in [0, 1].",
    ),
    Metric("packed_bytes", "packed size", "down", "B", "Length of the packed file, with everything in it."),
    Metric(
        "compression_ratio",
        "compression",
        "up",
        "x",
        "Length of the teacher's full-precision packed file over the length of this one.",
    ),
    Metric(
        "latency_ms",
        "latency",
        "down",
        "ms",
        "10th percentile of the time for one input in ONNX Runtime on one thread of this machine; of a "
        "translator, for a sentence of 16 tokens, translated greedily into 16.",
    ),
    Metric(
        "latency_beam_ms",
        "latency, beam",
        "down",
        "ms",
        "The same of a translator with a beam of 5.",
    ),
    Metric(
        "macs",
        "multiply-adds",
        "down",
        "",
        "Multiply-accumulate operations for what latency_ms is of: one input, or one sentence of 16 tokens.",
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
    Metric("parameters", "parameters", "down", "", "Elements of all tensors, dropped ones included."),
)
