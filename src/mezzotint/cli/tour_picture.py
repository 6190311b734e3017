"""The tour's picture: how fast everybody approaches the optimum."""

from pathlib import Path

_STYLES = {
    "Newton, 8 bits": ("#b3261e", "o"),
    "HALP, 8 bits": ("#1f5fa8", "s"),
    "HALP, 4 bits": ("#6fa8dc", "D"),
    "SVRG, float32": ("#7a7a7a", "^"),
    "scikit-learn (lbfgs)": ("#e08e0b", "v"),
}
_FLOOR = 1e-15  # gaps below it are rounding errors of the objective itself


def draw(curves: dict[str, list[tuple[float, float]]], data_name: str, folder: Path) -> Path | None:
    """Save objective gap against seconds; None if matplotlib is not installed.

    Parameters
    ----------
    curves : dict of str to list of (seconds, relative gap)
        One line each.
    data_name : str
        For the title.
    folder : Path
        Where ``gap-against-seconds.png`` goes.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, points in curves.items():
        color, marker = _STYLES.get(name, ("black", "x"))
        seconds, gaps = zip(*points, strict=True)
        axes.plot(
            seconds, [max(gap, _FLOOR) for gap in gaps], color=color, marker=marker, markersize=4, label=name
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="seconds (packing and conversions included)",
        ylabel="relative gap of the objective, (F − F*) / |F*|",
        title=f"Logistic regression on {data_name}: distance to the full-precision optimum",
    )
    axes.grid(alpha=0.25, which="major")
    axes.legend(frameon=False)
    path = folder / "gap-against-seconds.png"
    figure.savefig(path, dpi=150)
    return path
