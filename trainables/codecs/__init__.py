"""Compressed tensors <-> bytes, exact; one codec per file."""

from trainables.codecs.base import Codec
from trainables.codecs.bit_packed import BitPacked
from trainables.codecs.entropy_coded import EntropyCoded
from trainables.codecs.raw import Raw
from trainables.codecs.smallest import Smallest
from trainables.codecs.sparse import Sparse

CODECS: tuple[type[Codec], ...] = (Raw, BitPacked, EntropyCoded, Sparse, Smallest)
