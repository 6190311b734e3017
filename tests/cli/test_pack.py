"""`mezzotint pack` and `info`. Caught: --verify that looked at headers only, a store's text printed raw."""

import numpy as np

import mezzotint as mz
from mezzotint.packed.store_files import header_file, read_header


def test_pack_writes_what_pack_file_writes(run, files):
    result = run("pack", files / "X.npy", "--bits", 4, "--out", files / "rows", "--n-jobs", 1)
    assert result.exit_code == 0
    assert "300 x 5, decoded to float32" in result.stdout
    np.testing.assert_array_equal(
        mz.open(files / "rows").codes, mz.pack(np.load(files / "X.npy"), bits=4).codes
    )


def test_info_tells_the_precisions_of_planes(run, files):
    assert run("pack", files / "X.npy", "--bits", 16, "--out", files / "rows").exit_code == 0
    text = run("info", files / "rows").stdout
    assert "planes, can be opened at 1, 2, 4, 8, 16 bits" in text
    assert "verified" not in text
    assert "no damage" in run("info", files / "rows", "--verify").stdout


def test_two_draws_are_told(run, files):
    assert run("pack", files / "X.npy", "--bits", 4, "--draws", 2, "--out", files / "rows").exit_code == 0
    assert "5 bits per value: the sum of 2 draws of 4" in run("info", files / "rows").stdout


def test_optimal_levels_are_those_of_pack_file(run, files):
    options = ("--bits", 3, "--draws", 2, "--levels", "optimal")
    assert run("pack", files / "X.npy", *options, "--out", files / "rows").exit_code == 0
    packed = mz.pack(np.load(files / "X.npy"), bits=3, n_draws=2, levels="optimal")
    assert mz.open(files / "rows").levels == packed.levels
    assert "4 bits per value: the sum of 2 draws of 3, optimal levels" in run("info", files / "rows").stdout


def test_damage_is_exit_code_1_where_it_is_looked_for(run, files):
    run("pack", files / "X.npy", "--out", files / "rows")
    path = files / "rows" / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert run("info", files / "rows").exit_code == 0
    result = run("info", files / "rows", "--verify")
    assert result.exit_code == 1
    assert "do not fit their checksum" in result.stderr


def test_text_of_a_store_cannot_steer_the_terminal(run, files):
    run("pack", files / "X.npy", "--out", files / "rows")
    info, columns = read_header(files / "rows")
    info.provenance["\x1b[2J"] = "[red]\x1b]0;title\x07"
    (files / "rows" / "store.safetensors").write_bytes(header_file(info, columns))
    result = run("info", files / "rows")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "[red]" in result.stdout


def test_wrong_bits_and_places_are_named(run, files):
    result = run("pack", files / "X.npy", "--bits", 5, "--out", files / "rows")
    assert (result.exit_code, "bits=5 is not possible" in result.stderr) == (1, True)
    result = run("pack", files / "X.npy", "--out", files / "X.npy")
    assert (result.exit_code, "a store is a folder" in result.stderr) == (1, True)
    assert run("info", files / "nothing").exit_code == 1
