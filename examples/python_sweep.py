"""A sweep from Python: search, take the smallest student within 3 points, load it as a network.

python examples/python_sweep.py
"""

from pathlib import Path

import torch

from rayduce import Front, Student, Sweep, load, methods, parts, spaces


def smallest(front: Front, points: float) -> Student:
    best = front.teacher["validation_accuracy"]
    return next(each for each in front if each.validation >= best - points / 100)


def main(store: Path) -> None:
    sweep = Sweep("digits", store=store, trials=8, epochs=4, methods=["qd", "lsq"], ranges={"bits": (2, 4)})
    front = sweep.run(say=lambda text: print(text))
    chosen = smallest(front, points=3)
    size: int = chosen.packed_bytes
    path = chosen.save("student.rdz")
    network: torch.nn.Module = load(path)
    with torch.no_grad():
        logits: torch.Tensor = network(torch.zeros(1, 1, 8, 8))
    print(size, logits.argmax(1), len(front), front[0].name, Front.read(sweep.name, store=store)[-1:])
    setting = methods.Setting(parts.Digits(), parts.Fresh(parts.ConvNet()), epochs=2)
    recipe: parts.Recipe = methods.post_training_quantization(setting, quantizer=parts.Uniform(bits=4))
    print(recipe.recipe_id, spaces.Space, Sweep.resume(sweep.name, store=store).front)


if __name__ == "__main__":
    main(Path("store"))
