"""What the studies are called; loads nothing, so that a help text or a wrong name is answered at once."""

from __future__ import annotations


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
}
"""Name, as the user types it -> one line for ``--help``; in the order of ``studies.known.STUDIES``."""


def check_name(name: str) -> None:
    """Refuse a name that no study has.

    Raises:
        StudyError: the message lists those that there are.
    """
    if name not in SUMMARIES:
        known = ", ".join(SUMMARIES)
        raise StudyError(
            f"There is no study {name!r}; choose one of {known}, or give a file of your own, such as net.py."
        )
