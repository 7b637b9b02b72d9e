"""What the studies are called; loads nothing, so that a help text or a wrong name is answered at once."""

from __future__ import annotations

from trainables.alike import meant


class StudyError(Exception):
    """A study that there is not, or cannot be made so; the message is one sentence for the user."""


SUMMARIES: dict[str, str] = {
    "digits": "1,797 handwritten digits of 8x8 pixels, embedded: no download",
    "fashion_mnist": "70,000 pictures of clothes, 28x28 grey (--data DIR)",
    "cifar10": "60,000 colour pictures of 10 classes, 32x32 (--data DIR)",
    "cifar100": "60,000 colour pictures of 100 classes, 32x32 (--data DIR)",
    "phrases": "20,000 German-English sentences of a grammar over CLDR data, embedded: no download",
    "multi30k": "29,000 German-English descriptions of photographs (--data DIR)",
    "text_pairs": "your own sentences and their translations, two files per split (--data DIR)",
    "image_folder": "your own images, one folder per class (--data DIR)",
    "sentences": "your own sentences and their classes (--data DIR)",
    "keywords": "spoken words: your own recordings, one folder per word (--data DIR), or embedded voices",
}
"""Name, as the user types it -> one line for ``--help``; in the order of ``studies.known.STUDIES``."""


IMAGE_ARCHITECTURES = (
    "resnet",
    "convnet",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "shufflenet_v1",
    "shufflenet_v2",
    "ghostnet",
    "wide_resnet",
    "densenet",
    "squeezenet",
)
"""What students of images may be made of, as the user types it; :mod:`spaces.architectures` has them."""


SOUND_ARCHITECTURES = ("time_cnn", "ds_cnn", "tc_resnet", "gru")
"""The same of recordings."""


SENTENCE_ARCHITECTURES = ("text_cnn", "text_bag", "text_gru", "text_lstm", "text_transformer")
"""The same of sentences."""


def architectures_of(text: str, known: tuple[str, ...], study: str) -> tuple[str, ...]:
    """The names in ``resnet,mobilenet_v2``, in their order.

    Args:
        text: as the user gave it.
        known: those that the study has.
        study: its name.

    Raises:
        StudyError: there is none of that name, or one is there twice; the message lists what there is.
    """
    if not known:
        raise StudyError(f"--architectures is not for the study {study}.")
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            raise StudyError(
                f"There is no architecture {name!r}{meant(name, known)} for the study {study}; choose from "
                f"{', '.join(known)}."
            )
        if names.count(name) > 1:
            raise StudyError(f"--architectures names {name} twice; name it once.")
    return names


def check_name(name: str) -> None:
    """Refuse a name that no study has.

    Raises:
        StudyError: the message lists those that there are.
    """
    if name not in SUMMARIES:
        near, known = meant(name, SUMMARIES), ", ".join(SUMMARIES)
        raise StudyError(
            f"There is no study {name!r}{near}; choose one of {known}, or give a file of your own, such as "
            "net.py."
        )
