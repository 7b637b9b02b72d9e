"""How small and how fast: packed tensors against their entropy and against zip, zstd and Huffman.

    python benchmarks/codecs.py [--largest 10000000] [--rounds 5] [--files student.rdz ...]

Tensors are quantized in buckets of 256 with fp16 scales. "noise" are independent normal weights, from which
no model of contexts can win anything; "varied" ones have rows and columns of differing spread, as filters and
input channels of trained networks have; "students" are trained here on the digits, or are the files given.

- bytes: the whole record, over (order-0 entropy of the levels and of the mask + scales as they are in
  memory);
- rivals get the same levels, in the better of two forms for zip and zstd (bits packed; a byte per level), and
  scales and mask raw or compressed, whichever is shorter; Huffman is accounted as in Polino et al. 2018: mean
  code length times levels, neither table nor header counted, and the mask is given at its entropy for free;
- MB/s: float32 bytes of the weights over processor seconds of the one thread at work (which another
  program on the same core does not add to), the median of rounds that take all cases in turn.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import platform
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import zstandard
from torch import Tensor

from rayduce_reader.binary import Memory
from trainables import methods
from trainables.codecs import Smallest
from trainables.codecs.base import Stored
from trainables.codecs.binary import pack_bits
from trainables.codecs.layout import affine_bytes
from trainables.metrics.latency import fingerprint
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.pruners import Magnitude
from trainables.quantizers import Uniform
from trainables.quantizers.base import Codes
from trainables.shipping.packed_file import entropy_bytes, read_file, unpack
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.trainer import train

CODEC = Smallest()
SPARSE = ((0.5, 4), (0.8, 2), (0.9, 4), (0.95, 8))
BOUND, ENCODE, DECODE = 1.005, 300.0, 150.0


class Case(NamedTuple):
    """Tensors that are measured together, and whether the bounds are meant for them."""

    name: str
    tensors: list[Codes]

    @property
    def elements(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


def noise(count: int) -> Tensor:
    """Independent weights, (rows, 1000) or one row."""
    weight = torch.randn(count, generator=torch.Generator().manual_seed(0))
    return weight.reshape(-1, min(count, 1000))


def varied(count: int) -> Tensor:
    """Weights whose rows and columns have log-normal spreads of 0.3 and 0.2."""
    weight = noise(count)
    generator = torch.Generator().manual_seed(1)
    rows = (0.3 * torch.randn(weight.shape[0], 1, generator=generator)).exp()
    columns = (0.2 * torch.randn(1, weight.shape[1], generator=generator)).exp()
    return weight * rows * columns


def quantized(weight: Tensor, bits: int, sparsity: float = 0.0) -> Codes:
    """``weight`` on the grid of quantized distillation, its smallest values dropped."""
    keep = None
    if sparsity:
        keep = weight.abs() > weight.abs().reshape(-1).kthvalue(int(sparsity * weight.numel())).values
    values = weight.reshape(-1) if keep is None else weight[keep]
    codes = Uniform(bits, 256, scale_dtype="float16").build(values).encode(values, tuple(weight.shape), keep)
    assert isinstance(codes, Codes)
    return codes


def synthetic(count: int) -> Iterator[Case]:
    """Each number of bits on noise and on varied weights, and pruned varied weights."""
    for name, weight in (("noise", noise(count)), ("varied", varied(count))):
        for bits in range(1, 9):
            yield Case(f"{name} {count:.0e} {bits} bits", [quantized(weight, bits)])
    for sparsity, bits in SPARSE:
        yield Case(
            f"varied {count:.0e} {bits} bits {sparsity:.0%} pruned", [quantized(weight, bits, sparsity)]
        )


def students() -> Iterator[Case]:
    """Networks trained on the digits by four methods; all their quantized tensors."""
    task, model = Digits(), ConvNet(stages=((16, 16), (32, 32)), hidden=(64,), kernel_size=3, depth=1)
    arrays = task.load(None)
    for bits, sparsity in ((2, 0.0), (4, 0.0), (8, 0.0), (4, 0.9)):
        recipe = methods.post_training_quantization(
            methods.Setting(task, Fresh(model), epochs=30, pruner=Magnitude(sparsity)),
            quantizer=Uniform(bits),
        )
        opened = task.open(arrays, torch.device("cpu"), recipe.seed)
        data = train(recipe, opened, NoSources(), torch.device("cpu"))
        yield Case(f"digits {bits} bits {sparsity:.0%} pruned", quantized_tensors(data))


def quantized_tensors(data: bytes) -> list[Codes]:
    """Those of a packed file."""
    return [tensor for tensor in unpack(data)[1].values() if isinstance(tensor, Codes)]


def zipped(data: bytes) -> int:
    return min(len(data), len(zlib.compress(data, 9)))


def zstd(data: bytes) -> int:
    return min(len(data), len(zstandard.ZstdCompressor(level=19).compress(data)))


def compressed(tensor: Codes, squeeze: Callable[[bytes], int]) -> int:
    """Levels in the better of two forms, scales and mask, each compressed unless that is longer."""
    levels = tensor.index.numpy()
    forms = (pack_bits(levels, tensor.bits), levels.tobytes())
    return min(map(squeeze, forms)) + squeeze(affine_bytes(tensor)) + squeeze(mask_bits(tensor))


def huffman(tensors: list[Codes]) -> float:
    """One code for all tensors: mean length times levels, scales as they are, masks zipped."""
    counts = sum(np.bincount(tensor.index.numpy(), minlength=256) for tensor in tensors)
    queue = [int(count) for count in np.asarray(counts)[np.asarray(counts) > 0]]
    bits = queue[0] if len(queue) == 1 else 0
    heapq.heapify(queue)
    while len(queue) > 1:  # the sum of the inner nodes is the length of the text
        joined = heapq.heappop(queue) + heapq.heappop(queue)
        bits += joined
        heapq.heappush(queue, joined)
    return bits / 8 + sum(len(affine_bytes(tensor)) + zipped(mask_bits(tensor)) for tensor in tensors)


def mask_bits(tensor: Codes) -> bytes:
    """The mask at a bit per element; nothing without one."""
    return b"" if tensor.keep is None else pack_bits(tensor.keep.reshape(-1).numpy().view(np.uint8), 1)


def sizes(case: Case) -> tuple[int, float, dict[str, float]]:
    """Packed bytes, bound, and what the rivals take."""
    packed = sum(len(CODEC.encode(tensor)) for tensor in case.tensors)
    bound = sum(entropy_bytes(tensor) for tensor in case.tensors)
    rivals = {
        "zip": float(sum(compressed(tensor, zipped) for tensor in case.tensors)),
        "zstd": float(sum(compressed(tensor, zstd) for tensor in case.tensors)),
        "huffman": huffman(case.tensors),
    }
    return packed, bound, rivals


def timed(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def speeds(cases: list[Case], rounds: int) -> dict[str, tuple[float, float]]:
    """MB/s of encoding and decoding, by name of the case."""
    records = {case.name: [CODEC.encode(tensor) for tensor in case.tensors] for case in cases}
    spent: dict[str, tuple[list[float], list[float]]] = {case.name: ([], []) for case in cases}
    for _, case in itertools.product(range(rounds), cases):
        encoding, decoding = spent[case.name]
        encoding.append(timed(lambda case=case: [CODEC.encode(tensor) for tensor in case.tensors]))  # type: ignore[misc]
        decoding.append(timed(lambda case=case: decoded(records[case.name])))  # type: ignore[misc]
    return {
        case.name: tuple(4e-6 * case.elements / statistics.median(times) for times in spent[case.name])  # type: ignore[misc]
        for case in cases
    }


def decoded(records: list[bytes]) -> list[Stored]:
    return [CODEC.decode(record, Memory(2**34)) for record in records]


def main() -> None:
    """Print the tables, and which bars are missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=10_000_000, help="elements of the largest tensors")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="packed files of trained students")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"machine: {json.dumps(fingerprint())}")
    versions = {name: version(name) for name in ("constriction", "numpy", "torch", "zstandard")}
    print(f"python {platform.python_version()}, {versions}, zlib {zlib.ZLIB_RUNTIME_VERSION}\n")
    missed = []
    print(f"{'':<34}{'bytes':>10}{'/ bound':>9}{'/ zip':>8}{'/ zstd':>8}{'/ Huffman':>11}")
    given = [Case(path.stem, quantized_tensors(read_file(path))) for path in arguments.files]
    small = [size for size in (10**4, 10**5, 10**6) if size <= arguments.largest]
    for case in itertools.chain(*map(synthetic, small), students(), given):
        packed, bound, rivals = sizes(case)
        ratios = [packed / bound, *(packed / rival for rival in rivals.values())]
        print(
            f"{case.name:<34}{packed:>10,}{ratios[0]:>9.4f}" + "{:>8.3f}{:>8.3f}{:>11.3f}".format(*ratios[1:])
        )
        missed += [f"{case.name}: {ratios[0]:.4f} of the bound"] if ratios[0] > BOUND else []
        missed += [f"{case.name}: larger than {k}" for k, v in rivals.items() if packed >= v]
    print(f"\n{'':<34}{'/ bound':>10}{'encode MB/s':>13}{'decode MB/s':>13}")
    for size in (10**6, arguments.largest):
        cases = list(synthetic(size))
        measured = speeds(cases, arguments.rounds)
        for case in cases:
            encode, decode = measured[case.name]
            (tensor,) = case.tensors
            ratio = len(CODEC.encode(tensor)) / entropy_bytes(tensor)
            print(f"{case.name:<34}{ratio:>10.4f}{encode:>13.0f}{decode:>13.0f}")
            missed += [f"{case.name}: encodes {encode:.0f} MB/s"] if encode < ENCODE else []
            missed += [f"{case.name}: decodes {decode:.0f} MB/s"] if decode < DECODE else []
    print("\nmissed: " + ("; ".join(missed) if missed else "nothing"))


if __name__ == "__main__":
    main()
