"""How numbers are written: scores, percents, counts, bytes, durations. The page's `numbers.js` has the same rules."""

from math import isnan

NOTHING = "–"


def fix(value: float | None, digits: int = 1) -> str:
    """A number with `digits` decimals, rounded half to even, no negative zero; `–` where there is none."""
    if value is None or isnan(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def significant(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, without trailing zeros: 12.3, 0.0012, 1230."""
    exponent = int(f"{value:.16e}".partition("e")[2])
    return _trim(fix(value, max(0, digits - 1 - exponent)))


def score(value: float | None) -> str:
    """A score in [-1, 1] as points: 0.861 -> 86.1."""
    return fix(None if value is None else 100 * value)


def points(value: float | None) -> str:
    """A difference of scores as points: one decimal, or two if it is below 0.1."""
    return score(value) if value is None or value == 0 or abs(100 * value) >= 0.095 else fix(100 * value, 2)


def signed(value: float) -> str:
    """A difference of scores as points, with its sign: +1.2."""
    return points(value) if value < 0 else f"+{points(value)}"


def measured(value: float) -> str:
    """A score or a loss as it was measured, with four decimals: 0.8610."""
    return fix(value, 4)


def whole(value: float) -> str:
    """A whole number with commas: 110,592."""
    return f"{round(value):,}"


def compact(value: float, digits: int = 3) -> str:
    """A count in few characters, for axes and narrow columns: 110 k, 1.5 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{significant(value / size, digits)} {unit}"
    return significant(value, digits)


def ratio(value: float | None) -> str:
    """A ratio: 1.07."""
    return fix(value, 2)


def percent(value: float | None) -> str:
    """A percentage with about three significant digits: 0.050, 1.20, 100."""
    if value is None or isnan(value):
        return NOTHING
    return fix(value, 3 if 0 < value < 0.1 else 2 if value < 10 else 0)


def size(value: float) -> str:
    """Bytes in binary units: 1.4 MiB, 592 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{fix(value, 0 if unit == 'B' or abs(value) >= 100 else 1)} {unit}"
        value /= 1024
    return f"{fix(value)} GiB"


def seconds(value: float, digits: int = 1) -> str:
    """A duration: 12 ms, 3.4 s, 5.6 min, 7.8 h; digits=0 for an estimate: 3 s, 6 min."""
    if 0 < value < 1 and digits:
        return f"{significant(1000 * value)} ms"
    if value < 120:
        return f"{fix(value, digits)} s"
    return f"{fix(value / 60, digits)} min" if value < 7200 else f"{fix(value / 3600)} h"


def probability(value: float) -> str:
    """A p-value: 0.034, < 0.001."""
    return "< 0.001" if value < 0.001 else fix(value, 3)


def rate(value: float) -> str:
    """A learning rate or another setting: 0.06, 1e-3, 1.5e-4; with an exponent below 0.01 and from 100,000."""
    if value == 0 or 0.01 <= abs(value) < 1e5:
        return f"{value:g}"
    mantissa, exponent = f"{value:.4e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
