import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from search.teaching.given import packed_as_given, route_as_given
from spaces.architectures import SLICE, TEACHER
from studies.job import study_of_file
from studies.names import StudyError
from tests.studies.own_files import NET, REGRESSION, plain, write
from trainables import methods
from trainables.calling import call
from trainables.metrics import quality_of
from trainables.metrics.evidence import EVIDENCE
from trainables.metrics.samples import OF_CLASSES, OF_NUMBERS
from trainables.origins import Slice
from trainables.own_code import module_of
from trainables.recipe import recipe_from_dict
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.shipping.packed_file import unpack
from trainables.slicing.cut import Cut
from trainables.tasks.base import DataError
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer, train
from trainables.training.trial_sources import TrialSources

CPU = torch.device("cpu")
names = (f"own_net_{number}" for number in itertools.count())


@pytest.fixture
def write_job(tmp_path):
    """Writes a user's file under a name that no other test uses, since modules stay imported."""
    return lambda text=NET: write(tmp_path, text, next(names))


class Opened:
    """A user's file, opened as a sweep does it."""

    def __init__(self, path):
        self.study = study_of_file(path)
        self.task = self.study.make_task(None, {})
        self.arrays = self.task.load(None)
        self.loaded = self.task.open(self.arrays, CPU, 0)
        self.recipe = self.study.teacher_recipe(self.task)
        self.file = packed_as_given(self.recipe, self.loaded, self.study.given)
        self.teacher = open_student(self.file)[1]
        self.sources = LocalSources(lambda recipe_id: self.teacher, self.study.given)

    def setting(self, origin, epochs=2):
        return methods.Setting(self.task, origin, epochs, self.recipe.recipe_id, self.study.teacher_views)


def test_the_network_is_the_teacher_as_it_was_given(write_job):
    opened = Opened(write_job())
    own = plain().eval()
    inputs, targets = zip(
        *[opened.loaded._items["test"].batch(torch.tensor([n])) for n in range(50)], strict=True
    )
    inputs, targets = torch.cat(inputs), torch.cat(targets)
    with torch.no_grad():
        assert torch.allclose(opened.teacher(inputs), own(inputs), atol=1e-5)
    found = evaluate_file(opened.file, opened.loaded, "test")
    assert found == {"accuracy": float((own(inputs).argmax(1) == targets).float().mean().item())} or (
        abs(found["accuracy"] - float((own(inputs).argmax(1) == targets).double().mean())) < 1e-9
    )
    assert opened.recipe.epochs == 0 and opened.study.teacher_views == 1
    assert opened.study.sampler == "freeze-thaw"


def test_a_file_of_a_users_code_is_measured_with_that_code_alone(write_job, tmp_path):
    path = write_job()
    student = tmp_path / "student.rdz"
    student.write_bytes(Opened(path).file)
    command = [sys.executable, "-m", "rayduce.commands.app", "evaluate", student]
    unasked = subprocess.run(command, capture_output=True, text=True)
    assert unasked.returncode == 2 and "Traceback" not in unasked.stderr
    assert f"pass --model {path.name}" in unasked.stderr.replace("\n", " ")
    asked = subprocess.run([*command, "--model", path], capture_output=True, text=True)
    assert asked.returncode == 0 and "on the test split" in asked.stdout, asked.stderr


@pytest.mark.parametrize("start", [SLICE, TEACHER])
@pytest.mark.parametrize("method", ["quantized_distillation", "int8_post_training_quantization"])
def test_students_begin_with_its_weights_and_are_rebuilt_from_the_file_and_the_code(write_job, start, method):
    opened = Opened(write_job())
    origin = dict(opened.study.students)[start]
    if start == SLICE:
        origin = replace(origin, cut=replace(origin.cut, width=0.5))
    recipe = getattr(methods, method)(opened.setting(origin))
    data = train(recipe, opened.loaded, opened.sources, CPU)
    assert len(data) < len(opened.file) / 3
    packed = unpack(data)
    first = packed.tensors["0.weight"].shape[0]
    assert first == (4 if start == SLICE else 8)
    reported = evaluate_file(data, opened.loaded, "validation")
    again = evaluate_file(data, opened.task.open(opened.task.load(None), CPU, 5), "validation")
    assert reported == again


def test_a_slice_needs_no_weights_to_be_rebuilt(write_job, monkeypatch):
    path = write_job()
    opened = Opened(path)
    origin = replace(dict(opened.study.students)[SLICE], cut=Cut(width=0.5))
    data = train(methods.full_precision(opened.setting(origin, 1)), opened.loaded, opened.sources, CPU)
    _, before = open_student(data)
    own = module_of(path.stem).network
    module = module_of(path.stem)

    def untrained():
        network = own()
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
        return network

    monkeypatch.setattr(module, "network", untrained)
    _, after = open_student(data)
    inputs = torch.randn(3, 1, 8, 8)
    assert torch.equal(before(inputs), after(inputs)) and bool(before(inputs).any())


def test_training_a_users_student_stops_and_goes_on_bit_for_bit(write_job, tmp_path):
    opened = Opened(write_job())
    origin = replace(dict(opened.study.students)[SLICE], cut=Cut(width=0.5))
    recipe = methods.quantized_distillation(opened.setting(origin, 3))
    whole = train(recipe, opened.loaded, opened.sources, CPU)
    first = Trainer(recipe, opened.loaded, opened.sources, CPU)
    first.train_epoch()
    first.save(tmp_path / "kept")
    second = Trainer(recipe, opened.task.open(opened.arrays, CPU, recipe.seed), opened.sources, CPU)
    second.load(tmp_path / "kept")
    while not second.finished:
        second.train_epoch()
    assert second.ship() == whole


def test_outputs_that_are_no_classes_are_imitated_and_measured_as_the_file_says(write_job):
    opened = Opened(write_job(REGRESSION))
    assert opened.study.sampler is None, "nobody has measured that"
    assert not opened.task.classes and opened.task.inputs[1].shape == (3,) and opened.task.output == (2,)
    own = plain(REGRESSION)
    batch = next(iter(opened.loaded.in_order("test")))
    with torch.no_grad():
        expected = (call(own, batch.inputs) - batch.targets).square().mean().sqrt()
    found = evaluate_file(opened.file, opened.loaded, "test")
    assert found["rmse"] == pytest.approx(float(expected), rel=1e-4)
    recipe = methods.quantized_distillation(opened.setting(dict(opened.study.students)[TEACHER], 6))
    trainer = Trainer(recipe, opened.loaded, opened.sources, CPU)
    losses = [trainer.train_epoch()["loss"] for _ in range(6)]
    assert losses[-1] < losses[0]
    assert evaluate_file(trainer.ship(), opened.loaded, "test")["rmse"] < 2 * found["rmse"]


def changed(**functions):
    """The classifier's file with other functions."""
    text = NET
    for old, new in functions.items():
        assert old in text or old.startswith("add")
        text = text.replace(old, new) if not old.startswith("add") else text + new
    return text


BAD = {
    "syntax": (
        "def network(:\n",
        r"^\w+\.py cannot be imported: line 1: SyntaxError: invalid syntax: def network\(:\.$",
    ),
    "import": (
        "import nothing_of_that_name\n",
        r"^\w+\.py cannot be imported: line 1: ModuleNotFoundError",
    ),
    "no network": (NET.replace("def network", "def net"), r"it has no function network\(\)"),
    "no data": (NET.replace("def data", "def dataset"), r"it has no function data\(split\)"),
    "arguments": (
        NET.replace("def data(split)", "def data()"),
        r"data must take the arguments of data\(split\)",
    ),
    "no module": (
        NET.replace("return nn.Sequential(", "return list, ("),
        "fails|must return a torch.nn.Module",
    ),
    "network fails": (
        NET.replace("torch.manual_seed(1)", "1 / 0"),
        r"network\(\) of .* fails: line 12 of .*Zero",
    ),
    "data fails": (
        NET.replace('"train": slice', '"trian": slice'),
        r"data\('train'\) of .* fails: line .*KeyError",
    ),
    "no dataset": (
        NET.replace("return TensorDataset(INPUTS[part], LABELS[part])", "return 5"),
        "must return a dataset",
    ),
    "empty": (NET.replace("slice(250, None)", "slice(300, None)"), "test.* (empty|no )"),
    "labels": (
        NET.replace("nn.Linear(256, 4)", "nn.Linear(256, 3)"),
        r"has the label 3, and the network answers 3",
    ),
    "shapes": (NET.replace("nn.Linear(256, 4)", "nn.Linear(99, 4)"), "the network fails on inputs of shape"),
    "overlap": (NET.replace("slice(200, 250)", "slice(100, 250)"), "are in data\\('train'\\), too"),
    "random": (
        NET.replace("nn.Flatten()", "nn.Dropout(0.5) if False else Noise(), nn.Flatten()")
        + """
class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)
""",
        "at random in eval mode",
    ),
    "loss": (
        NET + "\ndef loss(output, target):\n    return output.sum(1)\n",
        r"loss\(output, target\) must return one number",
    ),
    "loss fails": (
        NET + "\ndef loss(output, target):\n    return output.nope\n",
        r"loss\(\) of .* fails: line 25 of .*Attrib",
    ),
    "quality": (
        NET + "\ndef quality(network, batches):\n    return float('nan')\n",
        "must be a number, got nan",
    ),
    "quality goal": (
        NET + "\ndef quality(network, batches):\n    return 1.0\nquality.goal = 'sideways'\n",
        "goal must be one of up, down",
    ),
    "item": (
        NET.replace(
            "return TensorDataset(INPUTS[part], LABELS[part])",
            "return Broken(TensorDataset(INPUTS[part], LABELS[part]))",
        )
        + """
class Broken:
    def __init__(self, inside):
        self.inside = inside
    def __len__(self):
        return len(self.inside)
    def __getitem__(self, index):
        if index == 131:
            raise OSError("the disk is gone")
        return self.inside[index]
""",
        r"131\].*the disk is gone",
    ),
}

ITEMS = """
class Items:
    def __init__(self, inside):
        self.inside = inside
    def __len__(self):
        return len(self.inside)
    def __getitem__(self, index):
        x, y = self.inside[index]
        return VALUE
"""
RETURNED = "return TensorDataset(INPUTS[part], LABELS[part])"


def items(value):
    """The classifier's file with other items, made of ``x`` and ``y``."""
    other = NET.replace(RETURNED, "return Items(TensorDataset(INPUTS[part], LABELS[part]))")
    return other + ITEMS.replace("VALUE", value)


def with_function(head, body):
    return f"{NET}\ndef {head}:\n    {body}\n"


BAD |= {
    "list as target": (items("x, [int(y)]"), "gives a target of type list: give a tensor"),
    "huge label": (items("x, 2**40"), "has the label 1099511627776, and the network answers 4 logits"),
    "huger label": (items("x, 2**70"), "which 64 bits do not hold"),
    "label as float": (items("x, float(y)"), r"answers \(4,\) .* targets are float32 of shape \(\): give"),
    "label as bool": (items("x, bool(y % 2)"), r"targets are bool of shape \(\): give"),
    "label of shape 1": (items("x, y.view(1)"), r"targets are int64 of shape \(1,\): give"),
    "not finite": (
        items("(x * float('nan') if index == 31 else x), y"),
        r"'train'\)\[31\] gives an input that",
    ),
    "target not finite": (
        items("x, torch.full((4,), torch.inf)"),
        r"\[0\] gives a target that is not finite",
    ),
    "item exits": (items("exit(3)"), r"\[0\] cannot be read: SystemExit: 3"),
    "data exits": (
        NET.replace(RETURNED, "exit(3)"),
        r"data\('train'\) of .* fails: line 2\d of .*SystemExit: 3",
    ),
    "arrays": (
        NET.replace(RETURNED, "return INPUTS[part], LABELS[part]"),
        "returns a tuple of arrays: return a",
    ),
    "none": (NET.replace(RETURNED, "return None"), "must return a dataset .*, got NoneType"),
    "no batch": (f"{NET}\nbatch_size = 0\n", r"batch_size must be in \[1, 65536\], got batch_size=0"),
    "weights": (f"{NET}\nweights = 'nowhere.pt'\n", "there is no file of weights .*nowhere.pt"),
    "keep a number": (f"{NET}\nkeep = 3\n", "keep must be a list of names of layers, got 3"),
    "exits no list": (f"{NET}\nexits = '0'\n", "exits must be a list of names of layers, got '0'"),
    "exits nowhere": (f"{NET}\nexits = ['layer9']\n", "exits names 'layer9', and no layer is called so"),
    "exits twice": (f"{NET}\nexits = ['0', '0']\n", "exits must be after different layers"),
    "slices no dict": (f"{NET}\nslices = 'taylor'\n", "slices must be a dict with 'importance'"),
    "slices of no way": (
        f"{NET}\nslices = {{'heads': 'halve'}}\n",
        r"'heads' \(narrow or remove\), got .*halve",
    ),
    "keep nothing": (f"{NET}\nkeep = ['0', 'stem.*']\n", r"keep names 'stem.\*', and no layer is called so"),
    "augment": (
        with_function("augment(inputs, generator)", "inputs"),
        "must return inputs like .*, got NoneType",
    ),
    "augment less": (
        with_function("augment(inputs, generator)", "return inputs[:2]"),
        r"like those that it gets, \(8, 1, 8, 8\) float32, got \(2, 1, 8, 8\) float32",
    ),
    "imitate": (
        with_function("imitate(student, teacher)", "return student.nope"),
        r"imitate\(\) of .* fails: line 25 of .*Attrib",
    ),
    "imitate without gradient": (
        with_function("imitate(student, teacher)", "return torch.tensor(1.0)"),
        "must return one finite number with its gradient, got tensor",
    ),
    "quality of none": (with_function("quality(network, batches)", "pass"), "must return a number, got None"),
    "quality scale": (
        with_function("quality(network, batches)", "return 1.0") + "quality.scale = 'a'\n",
        "the scale of a quality must be a finite number, got scale='a'",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_is_one_sentence(write_job, kind):
    text, expected = BAD[kind]
    with pytest.raises(StudyError, match=expected) as found:
        study_of_file(write_job(text))
    assert str(found.value).endswith(".") and "\n" not in str(found.value)


def test_an_edited_file_other_weights_and_other_data_are_other_teachers(write_job):
    def identity(text):
        study = study_of_file(write_job(text))
        task = study.make_task(None, {})
        recipe = study.teacher_recipe(task)
        return replace(recipe.task, file="x"), replace(recipe.origin.model, file="x")

    task, model = identity(NET)
    assert identity(NET + "\n# a remark\n") == (task, model)
    assert identity(NET.replace("torch.manual_seed(1)", "torch.manual_seed(2)"))[1].weights != model.weights
    assert identity(NET.replace("nn.ReLU()", "nn.GELU()"))[1].code != model.code
    assert identity(NET.replace("torch.manual_seed(0)", "torch.manual_seed(3)"))[0].data != task.data


@pytest.mark.parametrize(
    "value",
    [
        "(x.numpy(), y.numpy())",
        "[x, int(y)]",
        "([x], int(y))",
        "(x.double(), y)",
        "(x.float(), y.to(torch.uint8))",
    ],
)
def test_items_of_other_kinds_are_the_same_job(write_job, value):
    task = study_of_file(write_job(items(value))).make_task(None, {})
    assert task.classes and task.inputs[0].shape == (1, 8, 8) and task.inputs[0].dtype == "float32"


def test_a_quality_may_be_called_what_results_call_another(write_job):
    text = with_function("quality(network, batches)", "return torch.tensor([0.5])")
    task = study_of_file(write_job(f"{text}quality.label = 'accuracy'\n")).make_task(None, {})
    found = quality_of(task.metric)
    assert (found.name, found.label) == ("own_accuracy", "accuracy")


def test_a_directory_of_data_is_refused(write_job, tmp_path):
    with pytest.raises(DataError, match=r"says where its data are; leave out --data"):
        study_of_file(write_job()).make_task(tmp_path, {})
    with pytest.raises(DataError, match="leave out --data"):
        study_of_file(write_job()).make_task(None, {}).load(tmp_path)


def test_one_pattern_may_stand_for_a_list(write_job):
    study = study_of_file(write_job(f"{NET}\nkeep = '3'\n"))
    assert dict(study.students)[SLICE].cut.keep == ("3",)


def test_a_file_says_how_slices_are_cut(write_job):
    study = study_of_file(write_job(f"{NET}\nslices = {{'importance': 'fisher', 'heads': 'remove'}}\n"))
    cut = dict(study.students)[SLICE].cut
    assert (cut.importance, cut.heads) == ("fisher", "remove")


def test_a_slice_of_a_slice_is_refused():
    with pytest.raises(ValueError, match="one cut says it all"):
        Slice(Slice.__new__(Slice))


AUGMENTED = (
    NET
    + """

def augment(inputs, generator):
    return inputs + 0.1 * torch.randn(inputs.shape, generator=generator)
"""
)


def test_a_teachers_answers_are_remembered_in_augmented_views(write_job):
    opened = Opened(write_job(AUGMENTED))
    assert opened.study.teacher_views == 16 and opened.loaded.views is None
    kept = opened.sources.outputs(opened.recipe.recipe_id, 2, opened.loaded)["outputs"]
    for view in (0, 1):
        for batch in opened.loaded.batches("train", 5, view):
            with torch.no_grad():
                answers = opened.teacher(batch.inputs).half()
            assert torch.allclose(kept[view][batch.index].float(), answers.float(), atol=2e-3)
    first = next(iter(opened.loaded.batches("train", 0, 0))).inputs
    assert not torch.equal(first, next(iter(opened.loaded.batches("train", 0, 1))).inputs)
    edited = Opened(write_job(AUGMENTED.replace("0.1 *", "0.2 *")))
    assert edited.loaded.fingerprint() != opened.loaded.fingerprint()


def test_training_with_augmentation_stops_and_goes_on_bit_for_bit(write_job, tmp_path):
    opened = Opened(write_job(AUGMENTED))
    recipe = methods.quantized_distillation(opened.setting(dict(opened.study.students)[TEACHER], 3))
    whole = train(recipe, opened.loaded, opened.sources, CPU)
    first = Trainer(recipe, opened.loaded, opened.sources, CPU)
    first.train_epoch()
    first.save(tmp_path / "kept")
    second = Trainer(recipe, opened.task.open(opened.arrays, CPU, recipe.seed), opened.sources, CPU)
    second.load(tmp_path / "kept")
    while not second.finished:
        second.train_epoch()
    assert second.ship() == whole


def test_a_training_split_that_draws_random_numbers_is_read_anew(write_job):
    text = NET.replace(
        "return TensorDataset(INPUTS[part], LABELS[part])",
        "return Shaken(TensorDataset(INPUTS[part], LABELS[part]), 0.1 * (split == 'train'))",
    )
    text += """
class Shaken:
    def __init__(self, inside, spread):
        self.inside, self.spread = inside, spread
    def __len__(self):
        return len(self.inside)
    def __getitem__(self, index):
        inputs, label = self.inside[index]
        return inputs + self.spread * torch.randn(inputs.shape), label
"""
    opened = Opened(write_job(text))
    assert opened.study.teacher_views is None and "train/target" not in opened.arrays
    recipe = methods.quantized_distillation(opened.setting(dict(opened.study.students)[TEACHER], 2))
    assert train(recipe, opened.loaded, opened.sources, CPU) == train(
        recipe, opened.loaded, opened.sources, CPU
    )
    one, other = (next(iter(opened.loaded.batches("train", 0))) for _ in range(2))
    assert torch.equal(one.inputs, other.inputs)
    assert not torch.equal(one.inputs, next(iter(opened.loaded.batches("train", 1))).inputs)
    with pytest.raises(ValueError, match="read anew in every epoch"):
        next(iter(opened.loaded.batches("train", 0, 0)))
    noisy_test = text.replace("(split == 'train')", "1.0")
    with pytest.raises(StudyError, match=r'data\("validation"\) gives other values when it is read again'):
        study_of_file(write_job(noisy_test))


def test_without_classes_and_without_a_quality_the_loss_is_the_quality(write_job):
    opened = Opened(write_job(REGRESSION[: REGRESSION.index("def quality")]))
    quality = opened.study.make_task(None, {}).metric
    assert '"goal":"down"' in quality and '"lowest":0' in quality
    own, batches = plain(REGRESSION), list(opened.loaded.in_order("test"))
    with torch.no_grad():
        total = sum(
            float(torch.nn.functional.mse_loss(call(own, batch.inputs), batch.targets)) * len(batch.index)
            for batch in batches
        )
    found = evaluate_file(opened.file, opened.loaded, "test")
    assert found["mean_loss"] == pytest.approx(total / 40, rel=1e-4)


def test_a_file_says_where_students_may_answer_early(write_job):
    opened = Opened(write_job(f"{NET}\nexits = ['0']\n"))
    context = opened.study.context(opened.task, opened.recipe.recipe_id, 0)
    for method in ("early_exits", "decision_gates"):
        assert opened.study.space.opened(context).defaults[method].origin.exits.at == ("0",)


def test_a_file_in_another_encoding_is_refused(write_job):
    path = write_job()
    text = f"# -*- coding: latin-1 -*-\n# Größe\n{path.read_text(encoding='utf-8')}"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyError, match=r"is not encoded in UTF-8 \(byte \d+\): save it in UTF-8"):
        study_of_file(path)


CHECKPOINTS = (
    NET
    + """

def checkpoints():
    states = []
    for share in (4.0, 2.0, 1.0):
        net = network()
        states.append({name: share * each for name, each in net.state_dict().items()})
    torch.save(states[0], HERE + "/early.pt")
    return [HERE + "/early.pt", *states[1:]]
"""
)


def test_checkpoints_of_the_file_are_the_route_to_its_network(write_job, tmp_path):
    opened = Opened(write_job(CHECKPOINTS.replace("HERE", repr(str(tmp_path)))))
    assert len(opened.study.route) == 2  # the third is the network
    context = opened.study.context(opened.task, opened.recipe.recipe_id, 0)
    assert "route_constrained_optimization" not in opened.study.space.left_out(context)
    route = route_as_given(opened.recipe, opened.loaded, opened.study.route, opened.file)
    assert list(route) == [1, 2, 3] and route[3].tobytes() == opened.file
    sources = TrialSources({}, (), {}, {opened.recipe.recipe_id: route})
    first, second, last = sources.route(opened.recipe.recipe_id).values()
    name = "7.weight"
    for network, share in ((first, 4.0), (second, 2.0), (last, 1.0)):
        assert torch.equal(network.state_dict()[name], share * plain().state_dict()[name])
    recipe = methods.route_constrained_optimization(
        replace(opened.setting(dict(opened.study.students)[TEACHER]), teacher_route=context.teacher_route)
    )
    assert recipe.teacher.checkpoints == context.teacher_route and len(context.teacher_route) == 16
    both = LocalSources(lambda recipe_id: opened.teacher, opened.study.given, sources.route)
    file = train(recipe, opened.loaded, both, CPU)
    assert recipe_from_dict(recipe.to_dict()) == recipe and file


def test_without_checkpoints_no_method_follows_them(write_job):
    opened = Opened(write_job())
    context = opened.study.context(opened.task, opened.recipe.recipe_id, 0)
    assert context.teacher_route is None
    assert "given trained" in opened.study.space.left_out(context)["greedy_route"]


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("'early.pt'", r"checkpoints\(\) must return a list, got str"),
        ("['early.pt']", "there is no file of weights"),
        ("[3]", r"checkpoints\(\)\[0\] must be the path of a file or a state_dict, got int"),
        ("[nn.Linear(2, 2).state_dict()]", r"checkpoints\(\)\[0\] does not fit the network"),
        ("1 / 0", r"checkpoints\(\) of .* fails"),
    ],
)
def test_checkpoints_that_do_not_fit_are_one_sentence(write_job, returned, expected):
    with pytest.raises(StudyError, match=expected) as found:
        study_of_file(write_job(f"{NET}\n\ndef checkpoints():\n    return {returned}\n"))
    assert str(found.value).endswith(".") and "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "name"), [(NET, "macro_f1"), (NET, "area_under_curve"), (REGRESSION, "mean_absolute_error")]
)
def test_a_file_may_name_a_quality(write_job, text, name):
    opened = Opened(write_job(text + f'\nquality = "{name}"\n'))
    own = module_of(opened.task.file).network().eval()
    assert opened.task.metric == name
    batch = next(opened.loaded.in_order("test"))
    with torch.no_grad():
        answers = call(own, batch.inputs)
    score = {**OF_CLASSES, **OF_NUMBERS}[name](answers.numpy(), batch.targets.numpy())
    assert opened.loaded.evaluate(own, "test") == {name: pytest.approx(score, abs=1e-6)}
    qualities, kept = opened.loaded.measure(own, "test")
    assert qualities == opened.loaded.evaluate(own, "test")
    assert kept is not None and EVIDENCE[name].decides(kept) and (kept.said is None) == (text == REGRESSION)
    each = np.ones((len(kept.columns[0]), 1), dtype=np.float32)
    assert EVIDENCE[name].of_draws(kept, each) == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "name"), [(NET, "mean_squared_error"), (REGRESSION, "macro_f1"), (NET, "f1")]
)
def test_a_quality_that_does_not_fit_is_refused_with_those_that_do(write_job, text, name):
    with pytest.raises(StudyError, match=f"quality must be a function or one of .*, got '{name}'"):
        Opened(write_job(text + f'\nquality = "{name}"\n'))


def test_a_network_of_two_inputs_is_put_into_whole_numbers(write_job):
    opened = Opened(write_job(REGRESSION))
    origin = dict(opened.study.students)[TEACHER]
    recipe = methods.int8_post_training_quantization(opened.setting(origin, 0))
    data = train(recipe, opened.loaded, opened.sources, CPU)
    batch = next(opened.loaded.in_order("test"))
    with torch.no_grad():
        found, expected = (call(each, batch.inputs) for each in (open_student(data)[1], opened.teacher))
    assert torch.allclose(found, expected, atol=0.1 * float(expected.abs().max()))
