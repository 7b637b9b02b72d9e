"""What the networks of a task look like from outside, one kind per file."""

from trainables.interfaces.base import Interface
from trainables.interfaces.classifier import Classifier
from trainables.interfaces.encoder_decoder import EncoderDecoder

__all__ = ["Classifier", "EncoderDecoder", "Interface"]
