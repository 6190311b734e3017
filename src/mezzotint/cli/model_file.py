"""Model files: a safetensors file with coefficients, intercepts, classes and a description.

Safe to load from strangers: numbers and text, nothing is executed. Shapes, numbers and a checksum are
verified; a file is written under a temporary name and renamed.
"""

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint import __version__
from mezzotint.cli.inputs import replacing
from mezzotint.errors import FileError

_FORMAT = "mezzotint-linear-model"
_VERSION = "1"
_CLASSIFIERS = ("LogisticRegression", "LinearSVC")
_ESTIMATORS = (*_CLASSIFIERS, "Ridge", "LinearRegression", "LinearSVR")


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedModel:
    """What a model file holds.

    Attributes
    ----------
    estimator : {"LogisticRegression", "LinearSVC", "Ridge", "LinearRegression", "LinearSVR"}
        Class in `mezzotint.linear` whose predictions these are.
    coef : ndarray of float64, shape (K, d)
        Coefficients of K outputs.
    intercept : ndarray of float64, shape (K,)
        Intercepts, 0 where none was fitted.
    classes : ndarray or None
        Labels of a classifier: two for K = 1, else K; numbers, bools or strings.
    flat : bool
        A regression on a one-dimensional y: predictions are one-dimensional too.
    about : dict
        How the model was made, as JSON values: parameters, status, gap.
    """

    estimator: str
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    classes: NDArray[Any] | None = None
    flat: bool = True
    about: dict[str, Any] = field(default_factory=dict)


def save_model(path: Path, model: SavedModel) -> None:
    """Write a model file, whole or not at all."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {"coef": model.coef, "intercept": model.intercept}
    header = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "mezzotint": __version__,
        "estimator": model.estimator,
        "flat": json.dumps(model.flat),
        "about": json.dumps(model.about),
    }
    if model.classes is not None and model.classes.dtype.kind in "US":
        header["classes"] = json.dumps(model.classes.astype(str).tolist())
    elif model.classes is not None:
        tensors["classes"] = np.ascontiguousarray(model.classes)
    header["crc32"] = _checksum(tensors, header)
    content = save(tensors, metadata=header)
    with replacing(path) as part:
        part.write_bytes(content)


def load_model(path: Path) -> SavedModel:
    """Read and verify a model file.

    Raises
    ------
    FileError
        If it cannot be read, is no model file, is of a later version, or is damaged.
    """
    tensors, header = _read(path)
    if header.get("format") != _FORMAT:
        raise FileError(f"{path} is not a model file of mezzotint; write one with `mezzotint fit`.")
    if header.get("format_version") != _VERSION:
        raise FileError(
            f"{path} has format version {header.get('format_version')!r}; this mezzotint ({__version__}) "
            f"reads version {_VERSION}. Update mezzotint, or fit again."
        )
    if header.pop("crc32", None) != _checksum(tensors, header):
        raise _damaged(path, "its checksum does not fit its content")
    try:
        model = _assemble(tensors, header)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    return model


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist. Write a model with `mezzotint fit`.") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error}. Check the path and its permissions.") from error
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"no safetensors file ({error})") from error


def _assemble(tensors: dict[str, NDArray[Any]], header: dict[str, str]) -> SavedModel:
    """Build a model from a file whose checksum fits; ValueError if its parts do not fit together."""
    coef, intercept = tensors["coef"], tensors["intercept"]
    classes = np.array(json.loads(header["classes"])) if "classes" in header else tensors.get("classes")
    estimator = header["estimator"]
    if estimator not in _ESTIMATORS:
        raise ValueError(f"estimator {estimator!r} is unknown")
    if coef.dtype != np.float64 or coef.ndim != 2 or 0 in coef.shape:
        raise ValueError(f"coefficients of type {coef.dtype} and shape {coef.shape}")
    if intercept.dtype != np.float64 or intercept.shape != coef.shape[:1]:
        raise ValueError(f"intercepts of type {intercept.dtype} and shape {intercept.shape}")
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        raise ValueError("coefficients that are not finite")
    if (classes is not None) != (estimator in _CLASSIFIERS):
        raise ValueError(f"{estimator} with classes {classes}")
    if classes is not None and classes.shape != (max(2, len(coef)),):
        raise ValueError(f"{classes.shape} classes for {len(coef)} outputs")
    return SavedModel(
        estimator=estimator,
        coef=coef,
        intercept=intercept,
        classes=classes,
        flat=bool(json.loads(header["flat"])),
        about=dict(json.loads(header["about"])),
    )


def _checksum(tensors: dict[str, NDArray[Any]], header: dict[str, str]) -> str:
    crc = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        crc = zlib.crc32(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode(), crc)
        crc = zlib.crc32(tensors[name].tobytes(), crc)
    return f"{crc:08x}"


def _damaged(path: Path, what: str) -> FileError:
    return FileError(f"{path} is damaged: {what}. Fit the model again, or copy the file again.")
