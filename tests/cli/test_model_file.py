"""Would catch: a damaged or foreign model file that loads, crashes, or is reported unclearly."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file

from mezzotint.cli.model_file import SavedModel, load_model, save_model
from mezzotint.errors import FileError


def model(**changes):
    plain = SavedModel(
        estimator="LogisticRegression",
        coef=np.array([[1.5, -2.0, 0.25]]),
        intercept=np.array([0.5]),
        classes=np.array(["no", "yes"]),
        about={"status": "converged", "gap_bound": "inf"},
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    "saved",
    [
        model(),
        model(classes=np.array([3, 7])),
        model(classes=np.array([False, True])),
        model(classes=np.array([0.5, 1.5])),
        model(classes=np.array(["a", "b", "ü"]), coef=np.eye(3), intercept=np.zeros(3)),
        model(estimator="Ridge", classes=None, coef=np.eye(2), intercept=np.zeros(2), flat=False),
    ],
    ids=lambda saved: f"{saved.estimator} {saved.classes}",
)
def test_a_model_comes_back_as_it_was(tmp_path, saved):
    save_model(tmp_path / "m", saved)
    found = load_model(tmp_path / "m")
    assert np.array_equal(found.coef, saved.coef)
    assert np.array_equal(found.intercept, saved.intercept)
    if saved.classes is not None:
        assert found.classes.tolist() == saved.classes.tolist()
        assert found.classes.dtype == saved.classes.dtype
    assert (found.estimator, found.flat, found.about) == (saved.estimator, saved.flat, saved.about)


def test_every_cut_and_every_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "m"
    save_model(path, model())
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(FileError):
            load_model(path)
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x15
        path.write_bytes(changed)
        with pytest.raises(FileError):
            load_model(path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"coef": np.array([[np.nan, 1.0]])}, "not finite"),
        ({"coef": np.ones(3)}, "coefficients of type"),
        ({"coef": np.ones((1, 3), np.float32)}, "coefficients of type"),
        ({"intercept": np.ones(2)}, "intercepts of type"),
        ({"classes": np.array([1, 2, 3])}, "classes for 1 outputs"),
        ({"classes": None}, "LogisticRegression with classes None"),
        ({"estimator": "Popen"}, "estimator 'Popen' is unknown"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path, changes, text):
    save_model(tmp_path / "m", model(**changes))
    with pytest.raises(FileError, match=text):
        load_model(tmp_path / "m")


def test_a_foreign_safetensors_file_is_no_model(tmp_path):
    save_file({"weight": np.ones(3)}, tmp_path / "m")
    with pytest.raises(FileError, match="is not a model file of mezzotint"):
        load_model(tmp_path / "m")


def test_a_later_version_is_named(tmp_path):
    header = {"format": "mezzotint-linear-model", "format_version": "2"}
    save_file({"coef": np.ones((1, 1))}, tmp_path / "m", metadata=header)
    with pytest.raises(FileError, match="Update mezzotint"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_file_is_a_file_error(tmp_path, make):
    make(tmp_path / "m")
    with pytest.raises(FileError):
        load_model(tmp_path / "m")


def test_saving_keeps_the_usual_permissions_and_leaves_no_other_file(tmp_path):
    save_model(tmp_path / "m", model())
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2
