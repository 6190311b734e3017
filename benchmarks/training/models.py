"""Two small character models of different families: a decoder-only transformer and an LSTM.

Both map character numbers of shape (rows, length) to logits of shape (rows, length, n_characters).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

_D_MODEL, _N_LAYERS, _N_HEADS = 144, 4, 4
_D_HIDDEN = 192
LENGTH = 64


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a layer norm and added to its input."""

    def __init__(self) -> None:
        super().__init__()
        d = _D_MODEL
        self.norm_1, self.norm_2 = nn.LayerNorm(d, bias=False), nn.LayerNorm(d, bias=False)
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, length, d) to the same shape."""
        rows, length, d = x.shape
        qkv = self.qkv(self.norm_1(x)).view(rows, length, 3, _N_HEADS, d // _N_HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, d))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class Transformer(nn.Module):
    """A decoder-only transformer with learned positions and an untied head: about 1.02 million weights."""

    def __init__(self, n_characters: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(n_characters, _D_MODEL), nn.Embedding(LENGTH, _D_MODEL)
        self.blocks = nn.ModuleList(Block() for _ in range(_N_LAYERS))
        self.norm, self.head = (
            nn.LayerNorm(_D_MODEL, bias=False),
            nn.Linear(_D_MODEL, n_characters, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the next character at every place."""
        h = self.tokens(x) + self.positions.weight[: x.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """One LSTM layer between an embedding and a linear head: about 0.32 million weights."""

    def __init__(self, n_characters: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(n_characters, _D_HIDDEN)
        self.cells = nn.LSTM(_D_HIDDEN, _D_HIDDEN, batch_first=True)
        self.head = nn.Linear(_D_HIDDEN, n_characters)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the next character at every place."""
        return self.head(self.cells(self.tokens(x))[0])  # type: ignore[no-any-return]


FAMILIES: dict[str, Callable[[int], nn.Module]] = {"transformer": Transformer, "lstm": Recurrent}


def make_model(family: str, n_characters: int, seed: int) -> nn.Module:
    """Return a model with random weights: a function of the seed alone.

    Matrices are normal with a standard deviation of 1/sqrt(columns), those of embeddings and the last layer
    0.1 and 0.02; what feeds a sum over layers is smaller by sqrt(2 layers). Biases start at 0, norms at 1.
    """
    model = FAMILIES[family](n_characters)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, _spread(name, weight.shape[1]), generator=generator)
            elif "norm" not in name:
                weight.zero_()
    return model


def _spread(name: str, n_columns: int) -> float:
    if name == "head.weight":
        return 0.02
    if name.startswith(("tokens", "positions")):
        return 0.1
    return 1 / math.sqrt(n_columns) / (math.sqrt(2 * _N_LAYERS) if ".out" in name or ".down" in name else 1)


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats per character."""
    return functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
