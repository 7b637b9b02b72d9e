"""Quantizing 10 million weights in buckets of 256, against what one would use instead, in one run.

torchao and Brevitas quantize the weights group-wise for training, on the same grid: even levels between the
smallest and the largest value of each group, float32 scales; their own mean error is printed beside ours, so
that it shows that they do the same. torchao's zero point is a float here, because with an integer one
torchao 0.18 clips most of the weights. The NumPy code quantizes each group uniformly between its ends with
one array operation per step, which is how DiffQ's quantizer is written, only that DiffQ takes the ends of the
whole tensor. Brevitas and torchao are compared where they are installed (the ``benchmarks`` extra).

All contestants take turns; shown are medians, and ratios of medians. The fraction of memory bandwidth is the
time to copy as many bytes as must be moved at the least, from a tensor to one that exists already, over the
time taken.

    OMP_NUM_THREADS=1 python benchmarks/fake_quantization.py [--threads 1] [--repetitions 15]
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.quantizers.kernels.points import decode_points, initial_points, points_codes, quantize_points
from trainables.quantizers.kernels.symmetric import decode_symmetric, quantize_symmetric, symmetric_codes
from trainables.quantizers.kernels.uniform import decode_uniform, quantize_uniform, uniform_codes

BUCKET = 256
SHAPE = (13_021, 768)
"""10,000,128 weights: whole buckets, which the others require."""


def processor() -> str:
    """The processor's name, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def numpy_code(x: Tensor, bits: int) -> Callable[[], np.ndarray]:
    """Uniform quantization per group between its ends, a NumPy operation per step."""
    groups = x.numpy().reshape(-1, BUCKET)
    steps = 2**bits - 1

    def quantize() -> np.ndarray:
        low = groups.min(axis=1, keepdims=True)
        step = (groups.max(axis=1, keepdims=True) - low) / steps
        return np.round((groups - low) / step) * step + low

    return quantize


def torchao_code(x: Tensor, bits: int) -> Callable[[], Tensor]:
    """torchao's group-wise fake quantizer of weights."""
    from torchao.quantization.qat import IntxFakeQuantizeConfig
    from torchao.quantization.qat.fake_quantizer import IntxFakeQuantizer
    from torchao.quantization.quant_primitives import ZeroPointDomain

    module = IntxFakeQuantizer(
        IntxFakeQuantizeConfig(
            getattr(torch, f"uint{bits}"),
            group_size=BUCKET,
            is_symmetric=False,
            zero_point_domain=ZeroPointDomain.FLOAT,
            zero_point_precision=torch.float32,
        )
    )
    return lambda: module(x)


def brevitas_code(x: Tensor, bits: int) -> Callable[[], Tensor]:
    """Brevitas's group-wise fake quantizer of the weights of a linear layer."""
    import brevitas.nn
    from brevitas.quant.shifted_scaled_int import ShiftedUint8WeightGroupQuantFloat

    layer = brevitas.nn.QuantLinear(
        x.shape[1],
        x.shape[0],
        bias=False,
        weight_quant=ShiftedUint8WeightGroupQuantFloat,
        weight_bit_width=bits,
        weight_group_size=BUCKET,
    )
    layer.weight.data.copy_(x)
    # In evaluation Brevitas may remember the quantized weights; in training it cannot.
    layer.train()
    return lambda: layer.quant_weight().value


def others(x: Tensor, bits: int) -> dict[str, Callable[[], Tensor | np.ndarray]]:
    """Those installed, by name."""
    found: dict[str, Callable[[], Tensor | np.ndarray]] = {"NumPy": numpy_code(x, bits)}
    for name, make in (("torchao", torchao_code), ("brevitas", brevitas_code)):
        if importlib.util.find_spec(name) is not None:
            found[name] = make(x, bits)
    return found


def medians(contestants: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Milliseconds of each, taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for repetition in range(repetitions + 2):
        for name, call in contestants.items():
            start = time.perf_counter()
            result = call()
            stop = time.perf_counter()
            del result
            if repetition >= 2:  # the first two warm up
                taken[name].append((stop - start) * 1e3)
    return {name: statistics.median(times) for name, times in taken.items()}


def compare(x: Tensor, repetitions: int) -> None:
    """Print quantization at 2, 4 and 8 bits."""
    there = torch.empty_like(x)
    names = ["ours", "torchao", "brevitas", "NumPy"]
    print(f"{'bits':>4} {'copy':>8}" + "".join(f"{name + ' ms':>13}" for name in names), end="")
    print("".join(f"{name + '/ours':>15}" for name in names[1:]), "  bandwidth")
    for bits in (2, 4, 8):
        contestants: dict[str, Callable[[], object]] = {
            "copy": partial(there.copy_, x),
            "ours": partial(quantize_uniform, x, bits, BUCKET),
        }
        rivals = others(x, bits)
        contestants.update(rivals)
        for name, rival in rivals.items():
            check_same_error(name, x, quantize_uniform(x, bits, BUCKET), rival())
        times = medians(contestants, repetitions)
        print(f"{bits:>4} {times['copy']:>8.2f}", end="")
        print("".join(f"{times[name]:>13.2f}" if name in times else f"{'-':>13}" for name in names), end="")
        for name in names[1:]:
            print(f"{times[name] / times['ours']:>15.1f}" if name in times else f"{'-':>15}", end="")
        print(f"{times['copy'] / times['ours']:>12.2f}")


def check_same_error(name: str, x: Tensor, ours: Tensor, theirs: Tensor | np.ndarray) -> None:
    """Stop unless both quantize on grids of the same width."""
    values = torch.as_tensor(theirs).detach().reshape(x.shape)
    errors = [float((tensor - x).abs().mean()) for tensor in (ours, values)]
    if abs(errors[0] - errors[1]) > 0.02 * errors[0]:
        raise RuntimeError(f"{name} does not quantize as ours: mean errors {errors[1]} and {errors[0]}")


def ours_alone(x: Tensor, repetitions: int) -> None:
    """Print our other functions: milliseconds, and megabytes of float32 weights per second."""
    contestants: dict[str, Callable[[], object]] = {}
    for bits in (2, 4, 8):
        points = initial_points(x.reshape(-1)[:100_000], 2**bits, BUCKET)
        levels = uniform_codes(x, bits, BUCKET)
        numbers = points_codes(x, points, BUCKET)
        centred = symmetric_codes(x, bits, BUCKET)
        contestants |= {
            f"uniform_codes, {bits} bits": partial(uniform_codes, x, bits, BUCKET),
            f"decode_uniform, {bits} bits": partial(decode_uniform, *levels, bits, BUCKET),
            f"quantize_points, {bits} bits": partial(quantize_points, x, points, BUCKET),
            f"points_codes, {bits} bits": partial(points_codes, x, points, BUCKET),
            f"decode_points, {bits} bits": partial(decode_points, *numbers, points, BUCKET),
            f"quantize_symmetric, {bits} bits": partial(quantize_symmetric, x, bits, BUCKET),
            f"symmetric_codes, {bits} bits": partial(symmetric_codes, x, bits, BUCKET),
            f"decode_symmetric, {bits} bits": partial(decode_symmetric, *centred, bits, BUCKET),
        }
    uniform = partial(quantize_uniform, x, 4)
    contestants["quantize_uniform, 4 bits, one bucket"] = partial(uniform, None)
    contestants["quantize_uniform, 4 bits, stochastic"] = partial(uniform, BUCKET, rounding="stochastic")
    contestants["quantize_uniform, 4 bits, float16 scales"] = partial(uniform, BUCKET, scale_dtype="float16")
    contestants["torch.bucketize alone, 4 bits"] = partial(torch.bucketize, x, torch.linspace(-0.1, 0.1, 15))
    print(f"\n{'':<42}{'ms':>9}{'MB/s':>9}")
    for name, taken in sorted(medians(contestants, repetitions).items()):
        print(f"{name:<42}{taken:>9.2f}{x.numel() * 4 / 1e3 / taken:>9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=15)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # the other libraries' own
    torch.set_num_threads(arguments.threads)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * 0.05
    libraries = []
    for name in ("torch", "numpy", "torchao", "brevitas"):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: not compared (pip install 'rayduce[benchmarks]')")
        else:
            libraries.append(f"{name} {version(name)}")
    print(f"{processor()}, {platform.system()}, Python {platform.python_version()}, {', '.join(libraries)}")
    print(
        f"{arguments.threads} threads (NumPy always 1), {x.numel():,} float32 weights, buckets of {BUCKET}, "
        f"{arguments.repetitions} repetitions\n"
    )
    with torch.no_grad():
        compare(x, arguments.repetitions)
        ours_alone(x, max(3, arguments.repetitions // 3))


if __name__ == "__main__":
    main()
