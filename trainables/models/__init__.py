"""Architectures of students and teachers; one family per file."""

from trainables.models.base import Model
from trainables.models.convnet import ConvNet
from trainables.models.custom import Custom
from trainables.models.exited import Exited
from trainables.models.lstm import LSTM
from trainables.models.own import Own
from trainables.models.published import Published
from trainables.models.resnet import ResNet
from trainables.models.sliced import Sliced
from trainables.models.transformer import Transformer

MODELS: tuple[type[Model], ...] = (ConvNet, ResNet, LSTM, Transformer, Custom, Own, Published, Sliced, Exited)
