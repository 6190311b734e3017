"""Would catch: a failed write that leaves rubbish or loses the old file, a result that cannot be written."""

import pytest

from mezzotint.cli.inputs import check_writable, read_table, replacing
from mezzotint.errors import FileError


def test_columns_are_named_with_commas(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    table = read_table(tmp_path / "x.csv", "a", columns="c, b")
    assert table.source.block(0, 2).tolist() == [[3, 2], [6, 5]]
    assert table.y.tolist() == [1, 4]


def test_a_failed_write_leaves_nothing(tmp_path):
    target = tmp_path / "out"

    def write():
        with replacing(target) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_a_file_to_write(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        check_writable(tmp_path)
