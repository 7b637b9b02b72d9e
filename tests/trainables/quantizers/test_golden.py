"""Agreement with the vectors of the published reference implementation, where they are present."""

import json

import numpy as np
import pytest
import torch

from trainables.quantizers import LearnedPoints
from trainables.quantizers.kernels.buckets import scale_buckets
from trainables.quantizers.kernels.points import initial_points, quantize_points
from trainables.quantizers.kernels.uniform import quantize_uniform


@pytest.fixture(scope="module")
def golden(shared_dir):
    folder = shared_dir / "golden"
    if not folder.is_dir():
        pytest.skip("the reference implementation's vectors are not part of the repository")
    return json.loads((folder / "quantization.json").read_text()), np.load(folder / "quantization.npz")


def bucket_ranges(x, bucket):
    buckets = scale_buckets(x, bucket)
    return buckets.scale.expand_as(buckets.unit).reshape(-1)[: x.numel()].reshape(x.shape), buckets


def test_uniform_quantization_agrees(golden):
    cases, arrays = golden
    assert cases
    for case in cases:
        x = torch.from_numpy(arrays[f"{case['case']}_x"])
        expected = torch.from_numpy(arrays[f"{case['case']}_uniform"]).reshape(x.shape)
        ranges, buckets = bucket_ranges(x, case["bucket"])
        scaled = buckets.unit.reshape(-1)[: x.numel()].reshape(x.shape) * (2 ** case["bits"] - 1)
        clear = (scaled.frac() - 0.5).abs() > 1e-5 * (2 ** case["bits"] - 1)
        error = (quantize_uniform(x, case["bits"], case["bucket"]) - expected).abs() / ranges
        assert clear.float().mean() > 0.9, case
        assert float(error[clear].max()) < 1e-6, case


def test_points_and_their_gradient_agree(golden):
    cases, arrays = golden
    tried = 0
    for case in cases:
        name = case["case"]
        if f"{name}_points" not in arrays:
            continue
        tried += 1
        x = torch.from_numpy(arrays[f"{name}_x"])
        points = torch.from_numpy(arrays[f"{name}_points"]).float()
        ours = initial_points(x, len(points), case["bucket"])
        assert torch.allclose(ours, points, atol=1e-6), case
        values, index = quantize_points(x, points, case["bucket"])
        expected = torch.from_numpy(arrays[f"{name}_index"]).reshape(x.shape)
        unit = scale_buckets(x, case["bucket"]).unit.reshape(-1)[: x.numel()].reshape(x.shape)
        middles = (points[1:] + points[:-1]) / 2
        clear = (unit.reshape(-1, 1) - middles).abs().amin(1).reshape(x.shape) > 1e-5
        assert torch.equal(index[clear], expected[clear].long()), case
        ranges, _ = bucket_ranges(x, case["bucket"])
        reference = torch.from_numpy(arrays[f"{name}_nonuniform"]).reshape(x.shape)
        assert float(((values - reference).abs() / ranges)[clear].max()) < 1e-6, case

        if not clear.all():  # one element on a boundary moves a whole gradient
            continue
        part = LearnedPoints(case["bits"], case["bucket"], scale_dtype="float32")
        module = part.build(x)
        module.points.data = points.clone()
        gradient = torch.from_numpy(arrays[f"{name}_gout"]).reshape(-1)
        module(x.reshape(-1)).backward(gradient)
        target = torch.from_numpy(arrays[f"{name}_gpoints"]).float()
        assert torch.allclose(module.points.grad, target, rtol=1e-4, atol=1e-4 * float(target.abs().max())), (
            case
        )
    assert tried
