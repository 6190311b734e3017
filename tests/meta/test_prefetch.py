"""Would catch: a prefetch outside native/prefetch.h; GCC drops calls of a function that only prefetches."""

import pathlib

NATIVE = pathlib.Path(__file__).resolve().parents[2] / "native"
BARE = ("__builtin_prefetch", "_mm_prefetch")


def test_all_prefetches_go_through_the_header_that_keeps_them():
    sources = [*NATIVE.rglob("*.h"), *NATIVE.rglob("*.cpp")]
    found = {path.name for path in sources if any(name in path.read_text() for name in BARE)}
    assert found == {"prefetch.h"}


def test_every_prefetch_in_the_header_has_an_effect_that_compilers_see():
    text = (NATIVE / "prefetch.h").read_text()
    assert text.count("__builtin_prefetch") == text.count('asm volatile("");\n  __builtin_prefetch') == 2
