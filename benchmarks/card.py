"""The machine card: what a figure was measured on and with."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "mezzotint",
    "snapml",
    "scikit-learn-intelex",
    "torch",
    "torchao",
    "torch-optimi",
)
MEASURED = ("src", "native", "CMakeLists.txt", "pyproject.toml", "benchmarks/*.py", "benchmarks/cases")


def machine_card() -> dict[str, object]:
    """Describe processor, memory, system, versions and commit, as far as they can be found out."""
    from mezzotint import kernels

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "kernels": kernels.using(),
        "processor_features": kernels.processor_features(),
        "memory_gib": _memory_gib(),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", *MEASURED)),
    }


def one_line(card: dict[str, object]) -> str:
    """Sum up a card for the foot of a table."""
    libraries = ", ".join(f"{name} {version}" for name, version in dict(card["versions"]).items())  # type: ignore[call-overload]
    return (
        f"{card['processor']}, {card['cores']} cores, {card['kernels']} kernels, {card['memory_gib']} GiB, "
        f"Python {card['python']}, {libraries}, {str(card['date'])[:10]}"
    )


def _text(path: str) -> str | None:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def _first_value(path: str, key: str) -> str | None:
    lines = (_text(path) or "").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _processor() -> str:
    """Name, family and model: virtual machines often hide all but the maker in the name."""
    name, family, model = (
        _first_value("/proc/cpuinfo", key) for key in ("model name", "cpu family", "model\t")
    )
    return f"{name} (family {family}, model {model})" if name else platform.processor()


def _memory_gib() -> float | None:
    size = _first_value("/proc/meminfo", "MemTotal")
    return round(int(size.split()[0]) / 2**20, 1) if size else None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else None
