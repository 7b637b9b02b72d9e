"""The light reader: the arrays that the trainers read, bit for bit, and one sentence for everything else."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

import rayduce_reader
from benchmarks.fuzz_packed_file import files as sound_files
from rayduce_reader import Limits, PackedFileError, read, read_codes, read_header
from rayduce_reader.packed_file import CHECKSUM_BYTES, MAGIC, VERSION, checksum
from tests.contracts.test_codecs import TENSORS, same
from tests.contracts.test_quantizers import VARIANTS
from tests.recipes import every_method
from tests.trainables.test_packed_file import RECIPE, corrupted, header_text, small_files, with_header
from trainables.codecs import CODECS
from trainables.codecs.base import Codec, Stored
from trainables.compression.compressed_weight import compress, stored_tensors
from trainables.models import ConvNet
from trainables.quantizers.base import Codes, Dense, Grouped, MixedCodes, from_numpy, joined
from trainables.shipping.packed_file import pack, unpack
from trainables.tasks import CIFAR10, CIFAR100, Digits, FashionMNIST, ImageFolder, MultiTask, Phrases
from trainables.tasks import Grouped as GroupedTask

ROOT = Path(__file__).resolve().parents[2]
FROZEN = json.loads((Path(__file__).parent / "frozen.json").read_text())


def by_definition(tensor: Stored) -> Tensor:
    """What docs/packed_file.md says that a tensor is worth, in PyTorch, one formula at a time."""
    if isinstance(tensor, Dense):
        return tensor.values
    index = tensor.index.long()
    if isinstance(tensor, MixedCodes):
        size = tensor.group_size or max(math.prod(tensor.shape), 1)
        widths = tensor.bits.long()[torch.arange(math.prod(tensor.shape)) // size]
        widths = widths if tensor.keep is None else widths[tensor.keep.reshape(-1)]
        values = index.float() / (2**widths - 1).float() * tensor.scale + tensor.offset
    else:
        bucket = torch.arange(len(index)) // (tensor.bucket_size or max(len(index), 1))
        if tensor.codebook is not None:
            levels = tensor.codebook[index]
        elif tensor.zero is not None:
            levels = (index - tensor.zero).float()
        else:
            levels = index.float() / (2**tensor.bits - 1)
        values = tensor.scale.float()[bucket] * levels
        if tensor.offset is not None:
            values = values + tensor.offset.float()[bucket]
    if tensor.keep is None:
        return values.reshape(tensor.shape)
    return torch.zeros(tensor.shape).masked_scatter(tensor.keep, values)


def equal(array: np.ndarray, tensor: Tensor) -> bool:
    """Bit for bit; bfloat16 as float32."""
    wanted = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    assert isinstance(array, np.ndarray)
    return array.dtype == wanted.dtype and array.shape == wanted.shape and array.tobytes() == wanted.tobytes()


def check(data: bytes) -> None:
    """Whether both readers of a file agree, in all that they say."""
    recipe, tensors, _ = unpack(data)
    codes, arrays, header = read_codes(data), read(data), read_header(data)
    assert list(codes) == list(tensors) == list(header.names)
    assert all(same(from_numpy(codes[name]), tensor) for name, tensor in tensors.items())
    wanted = joined(tensors)
    assert list(arrays) == list(wanted)
    assert all(equal(arrays[name], by_definition(tensor)) for name, tensor in wanted.items())
    assert header.recipe == recipe.to_dict() and header.recipe_id == recipe.recipe_id
    assert (header.method, header.task) == (recipe.method, recipe.task.to_dict())
    assert header.elements == sum(math.prod(tensor.shape) for tensor in tensors.values())


def finite(tensor: Stored) -> bool:
    return bool(torch.isfinite(by_definition(tensor).float()).all()) and all(
        bool(torch.isfinite(array).all()) for array in tensor.arrays()
    )


@pytest.mark.parametrize("codec", [cls() for cls in CODECS], ids=lambda codec: type(codec).__name__)
@settings(max_examples=15)
@given(tensors=TENSORS)
def test_every_codec_is_read_as_the_trainers_read_it(codec: Codec, tensors: tuple[Stored, ...]) -> None:
    named = {
        f"layer.{number}": tensor
        for number, tensor in enumerate(tensors)
        if codec.accepts(tensor) and finite(tensor)
    }
    check(pack(replace(RECIPE, codec=codec), named))


@pytest.mark.parametrize("recipe", every_method(sparsity=0.5), ids=lambda recipe: recipe.method)
def test_the_students_of_every_method_are_read(recipe: Any) -> None:
    check(pack(recipe, stored_tensors(compress(recipe.build(), recipe), recipe)))


@pytest.mark.parametrize("quantizer", VARIANTS, ids=str)
def test_what_every_quantizer_stores_is_read(quantizer: Any) -> None:
    weight = torch.randn(24, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    module = quantizer.build(weight, "weight").eval()
    values = weight if module.exact_zero else weight.reshape(-1)
    module.initialize(values)
    stored = module.encode(values, tuple(weight.shape), None)
    tensors = stored.named("weight") if isinstance(stored, Grouped) else {"weight": stored}
    data = pack(RECIPE, tensors)
    check(data)
    made = module(values).detach().reshape(weight.shape).numpy()
    assert np.array_equal(read(data)["weight"], made)  # a zero has either sign in training


@pytest.mark.parametrize("number", range(len(FROZEN)))
def test_files_that_were_written_before_are_read_as_they_were(number: int) -> None:
    """Written and read by the version of 2026-11-29 that had PyTorch decode; the format is still 5.

    The trainers may know their recipes no more, and the light reader does not ask.
    """
    data = base64.b64decode(FROZEN[number]["file"])
    digest = hashlib.sha256()
    for name, form in read_codes(data).items():
        array = form.decode()
        assert equal(array, by_definition(from_numpy(form)))
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    assert digest.hexdigest() == FROZEN[number]["arrays"]
    assert len(read_header(data).recipe_id) == 16


def test_a_piece_of_a_bucket_is_worth_what_the_whole_is() -> None:
    """More elements than are decoded at a time, in buckets that no piece is a multiple of."""
    generator = np.random.default_rng(0)
    count = 2**17 + 5
    keep = torch.from_numpy(generator.random(count) < 0.7)
    for bucket_size, mask in ((None, None), (1000, None), (7, None), (1000, keep), (None, keep)):
        kept = count if mask is None else int(mask.sum())
        buckets = 1 if bucket_size is None else -(-kept // bucket_size)
        scale = torch.from_numpy(generator.random(buckets, dtype=np.float32))
        index = torch.from_numpy(generator.integers(0, 8, kept, dtype=np.uint8))
        tensor = Codes(index, (count,), 3, bucket_size, -scale / 3, scale, None, mask)
        assert equal(tensor.numpy().decode(), by_definition(tensor))
    assert equal(mixed(count).numpy().decode(), by_definition(mixed(count)))


def mixed(count: int) -> MixedCodes:
    generator = np.random.default_rng(1)
    bits = generator.integers(1, 16, -(-count // 8)).astype(np.uint8)
    index = generator.random(count) * 2.0 ** np.repeat(bits, 8)[:count]
    ends = (torch.tensor([-0.3]), torch.tensor([0.7]))
    return MixedCodes(torch.from_numpy(index.astype(np.int16)), (count,), torch.from_numpy(bits), 8, *ends)


def test_a_path_is_as_good_as_bytes(tmp_path: Path) -> None:
    data = pack(RECIPE, {"bias": Dense(torch.ones(3))})
    path = tmp_path / "student.rdz"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        assert read(source)["bias"].tolist() == [1.0, 1.0, 1.0]
        assert list(read_codes(source)) == ["bias"] and read_header(source).names == ("bias",)


def test_assets_of_a_task_come_with_the_weights() -> None:
    data = pack(RECIPE, {"task:vocabulary": Dense(torch.arange(5, dtype=torch.uint8))})
    assert read(data)["task:vocabulary"].tolist() == [0, 1, 2, 3, 4]


def of_task(task: Any) -> bytes:
    """A file of no tensors whose recipe has this task, whatever the recipe's other parts think of it."""
    return with_header(json.dumps([RECIPE.to_dict() | {"task": task.to_dict()}, None, []]).encode())


IMAGE_TASKS = [
    Digits(),
    FashionMNIST(),
    CIFAR10(),
    CIFAR100(),
    GroupedTask(Digits(), (0, 1) * 5),
    ImageFolder(classes=("cat", "dog"), channels=3, image_size=(32, 32), digest="0" * 16),
    ImageFolder(classes=("a", "b"), channels=1, image_size=(8, 8), digest="0" * 16, mean=(0.4,), std=(0.25,)),
]


@pytest.mark.parametrize("task", IMAGE_TASKS, ids=lambda task: type(task).__name__)
def test_how_pixels_become_inputs_is_said_as_the_tasks_say_it(task: Any) -> None:
    header = read_header(of_task(task))
    assert header.preprocessing == json.loads(json.dumps(task.preprocessing))
    assert header.class_names == getattr(task, "classes", None)


def test_tasks_without_pixels_and_several_tasks() -> None:
    assert read_header(of_task(Phrases())).preprocessing == {}
    both = MultiTask((Digits(), GroupedTask(Digits(), (0, 1) * 5)))
    said = read_header(of_task(both)).preprocessing
    one = {"inputs": "(pixels / 255 - mean) / std", "mean": [0.5], "std": [0.5]}
    assert said == {"tasks": [one, one]}


def test_the_architecture_that_ships_is_told() -> None:
    shipped = ConvNet(depth=2, width=0.25)
    assert read_header(pack(RECIPE, {})).architecture is None
    assert read_header(pack(RECIPE, {}, model=shipped)).architecture == shipped.to_dict()


def test_a_recipe_that_this_version_does_not_know_can_be_read() -> None:
    """The light reader needs the codec alone, so that files of newer methods are no riddle to it."""
    text = header_text().replace(b'"Digits"', b'"Tomorrow"')
    assert read_header(with_header(text)).task["type"] == "Tomorrow"
    assert read_header(with_header(text)).preprocessing == {}
    with pytest.raises(PackedFileError, match="unknown part 'Tomorrow'"):
        unpack(with_header(text))


def renamed(old: bytes, new: bytes) -> bytes:
    return with_header(header_text().replace(old, new))


REFUSED = {
    "empty": (b"", "does not begin as one"),
    "noise": (MAGIC + b"noise" * 9, "the checksum does not match"),
    "version": (
        MAGIC + bytes([VERSION + 1]) + checksum(MAGIC + bytes([VERSION + 1])),
        "version 6: only version 5",
    ),
    "codec": (renamed(b'"type":"Smallest"', b'"type":"Other"'), "unknown codec 'Other'; known are Raw"),
    "codec of codecs": (renamed(b'"type":"Raw"', b'"type":"Smallest"'), "members must not hold another"),
    "no codec": (renamed(b'"codec"', b'"codex"'), "unknown codec None"),
    "no members": (renamed(b'"members"', b'"member"'), "members must be 1 to 255"),
    "recipe": (with_header(b"[5,null,[]]"), "recipe and architecture are no objects"),
    "architecture": (with_header(header_text(model="5")), "recipe and architecture are no objects"),
    "names": (with_header(header_text(names=["a", "a"])), "two tensors have the same name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_in_one_sentence(name: str) -> None:
    data, message = REFUSED[name]
    for look in (read, read_codes, read_header):
        with pytest.raises(PackedFileError, match=message) as caught:
            look(data)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_rows_that_do_not_fit_are_refused() -> None:
    rows = torch.tensor([0, 1, 0], dtype=torch.uint8)
    parts = {"w[rows]": Dense(rows), "w[0]": Dense(torch.ones(2, 4)), "w[1]": Dense(torch.ones(1, 4))}
    assert read(pack(RECIPE, parts))["w"].shape == (3, 4)
    with pytest.raises(PackedFileError, match=r"damaged packed file: w\[1\] is missing"):
        read(pack(RECIPE, {name: part for name, part in parts.items() if name != "w[1]"}))
    with pytest.raises(PackedFileError, match=r"groups of .* are not rows of"):
        read(pack(RECIPE, parts | {"w[1]": Dense(torch.ones(2, 4))}))


def test_a_file_that_is_missing_or_none(tmp_path: Path) -> None:
    with pytest.raises(PackedFileError, match="No such file"):
        read(tmp_path / "none.rdz")
    with pytest.raises(PackedFileError, match="no regular file"):
        read_header("/dev/zero")


def test_limits_are_kept() -> None:
    data = pack(RECIPE, {"a": Dense(torch.ones(1000)), "b": Dense(torch.ones(1))})
    with pytest.raises(PackedFileError, match=r"'a': a dense tensor would take 8000 bytes"):
        read(data, Limits(memory_bytes=19_000))
    for look in (read, read_codes, read_header):
        with pytest.raises(PackedFileError, match="holds 2 tensors; a reader accepts at most 1"):
            look(data, Limits(tensors=1))
        with pytest.raises(PackedFileError, match="the header does not end where it should"):
            look(data, Limits(header_bytes=100))


def test_four_thousand_corruptions_are_refused_or_harmless() -> None:
    chance = random.Random(0)
    files = small_files()
    refused = 0
    for number in range(4000):
        data = files[number % len(files)]
        broken = corrupted(data[:-CHECKSUM_BYTES], chance.choice(files), 0, chance)
        try:
            arrays = read(broken + checksum(broken))
        except PackedFileError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            refused += 1
            continue
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert 1000 < refused < 4000


WITHOUT = "import sys; sys.modules |= dict.fromkeys({blocked!r}); "
BLOCKED = ("torch", "trainables", "search", "spaces", "studies", "rayduce", "dashboards", "pandas", "ray")


def alone(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python in which nothing but NumPy, constriction and the reader can be imported."""
    command = [sys.executable, "-c", WITHOUT.format(blocked=BLOCKED) + program, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)


def test_nothing_else_of_ours_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "student.rdz"
    path.write_bytes(sound_files()[2])
    done = alone(
        "import rayduce_reader as r; print(sum(a.size for a in r.read(sys.argv[1]).values()))", str(path)
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == read_header(path).elements


def test_the_command_shows_what_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "student.rdz"
    task = ImageFolder(classes=("cat", "dog"), channels=1, image_size=(8, 8), digest="0" * 16)
    index = torch.zeros(6, dtype=torch.uint8)
    tensors: dict[str, Stored] = {
        "conv.weight": Codes(index, (2, 3), 4, None, None, torch.ones(1), zero=8),
        "\x1b[31mred": Dense(torch.zeros(2).half()),
        "scalar": Dense(torch.tensor(1.0, dtype=torch.bfloat16)),
    }
    path.write_bytes(pack(replace(RECIPE, task=task), tensors))
    run = "import runpy; sys.argv[1:] = sys.argv[1:]; runpy.run_module('rayduce_reader', run_name='__main__')"
    done = alone(run, str(path))
    assert done.returncode == 0, done.stderr
    first, classes, _, _, head, *rows = done.stdout.splitlines()
    assert first.startswith(f"{path.stat().st_size:,} bytes, 9 elements, quantized_distillation, recipe ")
    assert classes == "classes: cat, dog"
    assert head.split() == ["name", "shape", "stored", "as", "bytes"]
    assert [row.split()[0] for row in rows] == ["conv.weight", "\\x1b[31mred", "scalar"]
    assert "2x3" in rows[0] and "4 bits, centred" in rows[0]
    assert "float16" in rows[1] and "scalar" in rows[2] and "bfloat16" in rows[2]
    path.write_bytes(b"none")
    done = alone(run, str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: not a packed file: it does not begin as one\n"


def test_the_licence_is_that_of_the_repository() -> None:
    assert (ROOT / "rayduce_reader" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_every_name_is_there() -> None:
    assert [name for name in rayduce_reader.__all__ if not hasattr(rayduce_reader, name)] == []
    with pytest.raises(AttributeError, match="'rayduce_reader' has no attribute 'write'"):
        rayduce_reader.write  # noqa: B018
