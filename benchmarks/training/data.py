"""The text that the study trains on, as character numbers, and the batches a seed stands for."""

import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.problems import MissingDataError

FILE = "tinyshakespeare.txt"
_TRAINED = 0.9  # of the text, from its start; the rest is for validation


@dataclass(frozen=True, eq=False)
class Text:
    """A text in characters.

    Attributes
    ----------
    train, held_out : Tensor of int64, shape (n,)
        Character numbers, 0 to n_characters - 1.
    n_characters : int
        How many different characters there are.
    """

    train: Tensor
    held_out: Tensor
    n_characters: int


def read_text(path: pathlib.Path) -> Text:
    """Read a text file and number its characters in the order of their code points."""
    text = path.read_text()
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    numbers = torch.tensor([number[character] for character in text])
    n_train = int(_TRAINED * len(numbers))
    return Text(numbers[:n_train], numbers[n_train:], len(number))


def default_path() -> pathlib.Path:
    """Where the text is when no path is given: in the folder that MEZZOTINT_DATA names.

    Raises
    ------
    MissingDataError
        If there is no such file.
    """
    path = pathlib.Path(os.environ.get("MEZZOTINT_DATA", ".")) / FILE
    if not path.exists():
        raise MissingDataError(f"{path} is missing; give --data PATH or set MEZZOTINT_DATA to its folder")
    return path


def batches(numbers: Tensor, n_rows: int, length: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield windows drawn at random and what follows each character: the same ones for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.arange(length + 1)
    while True:
        starts = torch.randint(len(numbers) - length - 1, (n_rows, 1), generator=generator)
        rows = numbers[starts + steps]
        yield rows[:, :-1], rows[:, 1:]


def windows(numbers: Tensor, n_rows: int, length: int) -> tuple[Tensor, Tensor]:
    """Windows evenly spread over a text, and what follows each of their characters."""
    starts = torch.linspace(0, len(numbers) - length - 2, n_rows).long()[:, None]
    rows = numbers[starts + torch.arange(length + 1)]
    return rows[:, :-1], rows[:, 1:]
