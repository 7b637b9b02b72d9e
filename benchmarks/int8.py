"""Our int8 student against ONNX Runtime's own static quantization of the same trained network.

Both start from one network, trained here for a few epochs, and go on for ``--aware`` epochs at the same rate:
ours with quantized weights and inputs, to leave through the packed file and the export, checks included; ONNX
Runtime's in float32. Of that network it is what ``quantize_static`` makes of the export after
``quant_pre_process``: QDQ, unsigned activations, signed weights per channel, ranges of 512 training images;
not the form that its defaults give, which is slower.

The files take turns on one thread, one image at a time. The ratio is that of the medians of a round, and of
all rounds the median. What ONNX Runtime left in floating point is read off the graph that it really runs.

    python -m benchmarks.int8 --images FOLDER [--train 5000] [--test 2000] [--epochs 6] [--aware 2]

FOLDER holds ``train`` and ``test`` with one folder of images of 32 x 32 pixels per class. Without it, digits
of scikit-learn are enlarged to that size, for trying.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.fake_quantization import processor
from trainables import methods
from trainables.calibration import CALIBRATION_INPUTS
from trainables.compression.compressed_weight import compress, compressed_weights
from trainables.compression.quantized_inputs import calibrate, input_quantizers
from trainables.exporting.export import to_onnx
from trainables.metrics.turns import alone
from trainables.models import ResNet
from trainables.models.base import Model
from trainables.models.published import Published
from trainables.origins import Fresh
from trainables.runtime import ERRORS_ONLY, onnxruntime, quantization
from trainables.shipping.evaluation import rebuild, ship
from trainables.shipping.packed_file import unpack
from trainables.tasks import CIFAR10

NETWORKS: dict[str, Model] = {
    "ResNet-20": ResNet(),
    "torchvision resnet18": Published("torchvision", "resnet18", "0" * 16),
    "torchvision mobilenet_v2": Published("torchvision", "mobilenet_v2", "0" * 16),
}
FLOATING = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "Add")
SIDE, CLASSES, BATCH = 32, 10, 64
WARM_UP, RUNS, ROUNDS = 20, 60, 9
FINE = 2e-3  # the rate at which a trained network goes on

Split = tuple[Tensor, Tensor]


def images(folder: Path | None, part: str, count: int) -> Split:
    """So many images, float32 (n, 3, 32, 32) around zero, and their classes; of each class equally many."""
    if folder is None:
        digits = load_digits()
        pixels = torch.from_numpy(digits.images).float()[:, None].expand(-1, 3, -1, -1) / 8 - 1
        chosen = slice(0, 1400) if part == "train" else slice(1400, None)
        enlarged = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear")
        return enlarged[chosen], torch.from_numpy(digits.target)[chosen]
    values, labels = [], []
    for number, path in enumerate(sorted(each for each in (folder / part).iterdir() if each.is_dir())):
        for file in sorted(path.iterdir())[: count // CLASSES]:
            with Image.open(file) as image:
                values.append(np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / 64 - 2)
            labels.append(number)
    return torch.from_numpy(np.stack(values)), torch.tensor(labels)


def train(network: nn.Module, data: Split, epochs: int, rate: float) -> None:
    """Cross-entropy, SGD with momentum 0.9, the rate on half a cosine; images are mirrored at random."""
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    steps = epochs * (len(data[0]) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, max(steps, 1), pct_start=0.2)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(data[0]))[: steps // epochs * BATCH].split(BATCH):
            inputs = data[0][chosen]
            inputs = torch.where(torch.rand(len(inputs), 1, 1, 1) < 0.5, inputs.flip(3), inputs)
            with parametrize.cached():
                loss = F.cross_entropy(network(inputs), data[1][chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def float_file(network: nn.Module) -> bytes:
    """The float32 export."""
    (data,) = to_onnx(network.eval(), CIFAR10().interface, {}).values()
    return data


def our_file(network: nn.Module, model: Model, data: Split, epochs: int) -> bytes:
    """The int8 export of the network after some epochs of quantization-aware training."""
    recipe = methods.quantization_aware_training(methods.Setting(CIFAR10(), Fresh(model), epochs=2))
    student = compress(network, recipe)
    for _, compressed, original in compressed_weights(student):
        compressed.start_quantizing(original)

    def inputs() -> Iterator[Tensor]:
        yield from data[0][:CALIBRATION_INPUTS].split(BATCH)

    calibrate(student, inputs)
    for _, quantizer in input_quantizers(student):
        quantizer.quantizing = True
    train(student, data, epochs, FINE)
    tensors = unpack(ship(recipe, student, inputs, model=model)).tensors
    rebuilt = rebuild(recipe, tensors, model)
    (made,) = to_onnx(rebuilt, recipe.task.interface, {}, tensors).values()
    return made


TOOLS = quantization()


class _Calibration(TOOLS.CalibrationDataReader):  # type: ignore[name-defined]
    def __init__(self, inputs: Tensor) -> None:
        self._batches = iter([{"input": batch.numpy()} for batch in inputs.split(BATCH)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def their_file(data: bytes, inputs: Tensor) -> bytes:
    """What ONNX Runtime's static quantization makes of a float32 export."""
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, made = (str(Path(folder, f"{name}.onnx")) for name in ("plain", "ready", "made"))
        Path(plain).write_bytes(data)
        TOOLS.shape_inference.quant_pre_process(plain, ready)
        TOOLS.quantize_static(
            ready,
            made,
            _Calibration(inputs[:CALIBRATION_INPUTS]),
            quant_format=TOOLS.QuantFormat.QDQ,
            activation_type=TOOLS.QuantType.QUInt8,
            weight_type=TOOLS.QuantType.QInt8,
            per_channel=True,
        )
        return Path(made).read_bytes()


def opened(data: bytes, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    """A file on one thread; the graph that is run is written to ``optimized``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def left_in_float(data: bytes) -> int:
    """How many convolutions, products and sums ONNX Runtime computes in floating point."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimized.onnx")
        opened(data, path)
        return sum(node.op_type in FLOATING for node in onnx.load(path).graph.node)


def accuracy(data: bytes, split: Split) -> float:
    """Percent."""
    session = opened(data)
    found = [session.run(None, {"input": batch.numpy()})[0].argmax(1) for batch in split[0].split(BATCH)]
    return 100 * float((np.concatenate(found) == split[1].numpy()).mean())


def medians(files: dict[str, bytes], image: np.ndarray) -> dict[str, list[float]]:
    """Milliseconds of one image: medians of each round, in which the files take turns."""
    sessions = {name: opened(data) for name, data in files.items()}
    times: dict[str, list[list[float]]] = {name: [[] for _ in range(ROUNDS)] for name in files}
    with alone():
        for run, (name, session) in itertools.product(range(-WARM_UP, ROUNDS * RUNS), sessions.items()):
            begin = time.perf_counter()
            session.run(None, {"input": image})
            if run >= 0:
                times[name][run // RUNS].append(1e3 * (time.perf_counter() - begin))
    return {name: [statistics.median(each) for each in rounds] for name, rounds in times.items()}


def ratio(took: dict[str, list[float]]) -> float:
    """Of our time to theirs: the median over rounds, so that what disturbs some of them does not count."""
    return statistics.median(a / b for a, b in zip(took["ours"], took["quantize_static"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--train", type=int, default=5000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--aware", type=int, default=2)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = {part: images(given.images, part, getattr(given, part)) for part in ("train", "test")}
    print(f"{processor()}; torch {torch.__version__}, onnxruntime {version('onnxruntime')}")
    print("| network | form | bytes | ms | accuracy, % | left in float |\n| - | - | -: | -: | -: | -: |")
    for name in given.networks:
        torch.manual_seed(0)
        model = NETWORKS[name]
        network = model.build((3, SIDE, SIDE), CLASSES)
        train(network, data["train"], given.epochs, 0.05)
        theirs = copy.deepcopy(network)
        train(theirs, data["train"], given.aware, FINE)
        plain = float_file(theirs)
        files = {
            "float32": plain,
            "quantize_static": their_file(plain, data["train"][0]),
            "ours": our_file(network, model, data["train"], given.aware),
        }
        took = medians(files, data["test"][0][:1].numpy())
        right = {form: accuracy(each, data["test"]) for form, each in files.items()}
        for form, each in files.items():
            shown = f"{len(each):,} | {statistics.median(took[form]):.3f}"
            shown += f" | {right[form]:.2f} | {left_in_float(each)}"
            print(f"| {name} | {form} | {shown} |")
        print(
            f"| {name} | ours / quantize_static | {len(files['ours']) / len(files['quantize_static']):.3f} "
            f"| {ratio(took):.3f} "
            f"| {right['ours'] - right['quantize_static']:+.2f} | |",
            flush=True,
        )


if __name__ == "__main__":
    main()
