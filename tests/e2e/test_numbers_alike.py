"""A number reads alike wherever it stands: record/units.py and the page's numbers.js write the same texts."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from petbench.record import units
from petbench.report.page import page

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Ties that binary holds exactly (0.25, 86.25), ends of ranges, both sides of each threshold, tiny, huge and none.
VALUES = (
    None, 0.0, -0.0, 0.001, -0.04, 0.05, 0.0625, 0.099, 0.1, 0.125, 0.25, 0.35, 0.5, 0.75, 0.9994, 0.9996, 1.0, 1.005,
    1.25, 2.5, 3.14159, 9.994, 9.995, 9.999, 10.0, 12.25, 59.96, 60.0, 86.25, 86.35, 99.95, 119.9, 120.0, 359.9, 999.4,
    999.5, 999.6, 1000.0, 1023.0, 1023.9, 1024.0, 1250.0, 7199.0, 7200.0, 9990.0, 36_000.0, 99_999.0, 100_000.0,
    110_592.0,     999_499.0, 1_048_575.0, 1_048_576.0, 1.5e9, 3.2e10, -1.25, -12.345, -1234.5,
    1.5e-4, 1.234e-3, 1e-3, 2e-5, 0.01, 0.02,
)  # fmt: skip
# Name in numbers.js and its digits, and the same in Python.
RULES = {
    ("fix", 0): lambda v: units.fix(v, 0),
    ("fix", 1): units.fix,
    ("fix", 2): lambda v: units.fix(v, 2),
    ("fix", 3): lambda v: units.fix(v, 3),
    ("percent", None): units.percent,
    ("si", 3): units.compact,
    ("significant", 2): lambda v: units.significant(v, 2),
    ("whole", None): units.whole,
    ("bytes", None): units.size,
    ("seconds", 1): units.seconds,
    ("seconds", 0): lambda v: units.seconds(v, 0),
    ("probability", None): units.probability,
    ("rate", None): units.rate,
}
TAKE_NOTHING = {"fix", "percent"}  # the others' `–` is written by whoever asks, in Python


def cases() -> list[tuple[str, int | None, float | None]]:
    """Rule, digits, value."""
    return [(*rule, v) for rule in RULES for v in VALUES if v is not None or rule[0] in TAKE_NOTHING]


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The texts of all cases by numbers.js, in node or in the browser."""
    source = (Path(page.HERE) / "numbers.js").read_text(encoding="utf-8")
    names = ", ".join(sorted({name for name, _ in RULES}))
    run = (
        f"{source}\nconst rules = {{ {names} }};\nconst said = {json.dumps(cases())}"
        ".map(([name, digits, v]) => (digits === null ? rules[name](v) : rules[name](v, digits)));\n"
    )
    if NODE:
        done = subprocess.run(
            [NODE, "-e", f"{run}console.log(JSON.stringify(said))"],
            capture_output=True,
            text=True,
            check=True,
        )
        return list(json.loads(done.stdout))
    if not CHROMIUM:
        pytest.skip("neither node nor Chromium is on PATH")
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "page.html").write_text(
        f'<meta charset="utf-8"><pre id="said"></pre><script>{run}'
        'document.getElementById("said").textContent = JSON.stringify(said);</script>',
        encoding="utf-8",
    )
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
    )
    command = [CHROMIUM, *flags, (folder / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout
    return list(json.loads(unescape(found[1])))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule[0]}-{rule[1]}")
def test_python_and_the_page_write_a_number_alike(
    rule: tuple[str, int | None], javascript: list[str]
) -> None:
    said = {
        value: text for (*each, value), text in zip(cases(), javascript, strict=True) if tuple(each) == rule
    }
    assert len(said) >= len(set(VALUES)) - 1
    # The page sets a minus, a terminal and a CSV a hyphen.
    python = {value: RULES[rule](value).replace("-", "−") for value in said}
    assert {value: text.replace("-", "−") for value, text in said.items()} == python


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.score(0.861), "86.1"), (units.score(0.8625), "86.2"), (units.score(-0.0001), "0.0"),
        (units.fix(None), "–"), (units.points(0.0004), "0.04"), (units.points(0.004), "0.4"),
        (units.signed(0.012), "+1.2"),
        (units.signed(-0.012), "-1.2"), (units.percent(0.0731), "0.073"), (units.percent(1.0), "1.00"),
        (units.percent(100.0), "100"), (units.whole(110_592.0), "110,592"), (units.size(1_468_006), "1.4 MiB"),
        (units.size(620_500_000), "592 MiB"),
        (units.size(12), "12 B"), (units.seconds(0.0123), "12.3 ms"), (units.seconds(0.9999), "1000 ms"),
        (units.seconds(45.0), "45.0 s"), (units.seconds(45.0, 0), "45 s"), (units.seconds(720.0, 0), "12 min"),
        (units.seconds(12_240.0, 0), "3.4 h"), (units.compact(110_592.0), "111 k"), (units.compact(0.0), "0"),
        (units.probability(0.0004), "< 0.001"), (units.probability(0.034), "0.034"), (units.rate(1.5e-4), "1.5e-4"),
        (units.measured(0.861), "0.8610"), (units.ratio(1.069), "1.07"),
    ],
)  # fmt: skip
def test_what_is_written(text: str, expected: str) -> None:
    assert text == expected
