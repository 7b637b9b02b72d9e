"""A Hugging Face classifier of sentences, which takes a dict of tensors, as a user's file."""

import pytest
import torch

from search.teaching.given import packed_as_given
from spaces.architectures import SLICE
from studies.job import study_of_file
from tests.studies.own_files import write
from trainables import methods
from trainables.own_code import module_of
from trainables.runtime import load
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.teachers.sources import LocalSources
from trainables.torchvision_guard import make_importable
from trainables.training.export_costs import exported
from trainables.training.trainer import train

make_importable()
pytest.importorskip("transformers", reason="pip install 'rayduce[transformers]'")

FILE = """
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

torch.manual_seed(0)
TOKENS = torch.randint(1, 50, (260, 12))
TOKENS[:, 8:] *= torch.rand(260, 4) > 0.5
LABELS = (TOKENS[:, 0] > 25).long()


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.bert = BertForSequenceClassification(BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=16, num_labels=2,
        ))

    def forward(self, input_ids, attention_mask):
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).logits


def network():
    torch.manual_seed(1)
    return Classifier()


class Sentences:
    def __init__(self, part):
        self.tokens, self.labels = TOKENS[part], LABELS[part]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        tokens = self.tokens[number]
        return {"input_ids": tokens, "attention_mask": (tokens != 0).long()}, self.labels[number]


def data(split):
    return Sentences({"train": slice(0, 180), "validation": slice(180, 220), "test": slice(220, None)}[split])
"""


def test_it_is_quantized_with_its_embeddings_and_exported(tmp_path):
    study = study_of_file(write(tmp_path, FILE, "own_bert"))
    task = study.make_task(None, {})
    assert [each.name for each in task.inputs] == ["input_ids", "attention_mask"]
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    recipe = study.teacher_recipe(task)
    data = packed_as_given(recipe, loaded, study.given)
    teacher = open_student(data)[1]
    network = module_of("own_bert").network().eval()
    batch = next(loaded.in_order("test"))
    with torch.no_grad():
        assert torch.allclose(teacher(**batch.inputs), network(**batch.inputs), atol=1e-5)
    origin = next(origin for start, origin in study.students if start != SLICE)
    given = methods.Setting(task, origin, epochs=0, teacher=recipe.recipe_id)
    small = methods.int8_post_training_quantization(given)
    sources = LocalSources(lambda _: teacher, study.given)
    packed = train(small, loaded, sources, torch.device("cpu"))
    assert len(packed) < len(data) / 3
    _, student = open_student(packed)
    session = load(exported(small, packed, student))["network"]
    found = session({name: tensor.numpy() for name, tensor in batch.inputs.items()})["output"]
    with torch.no_grad():
        expected = student(**batch.inputs)
    assert torch.allclose(torch.from_numpy(found), expected, atol=0.05)
    assert evaluate_file(packed, loaded, "test").keys() == {"accuracy"}
