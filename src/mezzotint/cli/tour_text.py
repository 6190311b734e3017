"""The tour's text: a file of one's own, or the language reference that comes with every Python."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError

_FILE = "tinyshakespeare.txt"
_TRAINED = 0.9  # of the text, from its start; the rest is for validation
_FEWEST = 10_000  # characters


@dataclass(frozen=True, eq=False, kw_only=True)
class Text:
    """A text as character numbers.

    Attributes
    ----------
    name : str
        What the report calls it.
    train, held_out : ndarray of int64, shapes (n,) and (m,)
        Numbers of characters, 0 .. n_characters - 1.
    n_characters : int
        How many different characters there are.
    """

    name: str
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    n_characters: int


def real_text() -> Text:
    """Read tinyshakespeare.txt in the folder that MEZZOTINT_DATA names, or else Python's own reference.

    The reference is what `help("topics")` shows, topics in alphabetical order: the same text for everybody
    who has the same version of Python.
    """
    path = Path(os.environ.get("MEZZOTINT_DATA", ""), _FILE)
    if "MEZZOTINT_DATA" in os.environ and path.exists():
        return numbered(_FILE, path.read_text(encoding="utf-8"))
    from pydoc_data.topics import topics

    pages = [text for _, text in sorted(topics.items())]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return numbered(f"the reference of Python {version}", "\n\n".join(pages))


def numbered(name: str, text: str) -> Text:
    """Number the characters of a text in the order of their code points, and hold out its end."""
    if len(text) < _FEWEST:
        raise DataError(f"{name} has {len(text)} characters; the tour needs {_FEWEST}: give it a longer text")
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    numbers = np.array([number[character] for character in text], np.int64)
    n_train = int(_TRAINED * len(numbers))
    return Text(name=name, train=numbers[:n_train], held_out=numbers[n_train:], n_characters=len(number))
