"""Makes docs/img/report.png, the picture of the README: the top of the report page of the committed records.

python scripts/make_picture.py
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from petbench.report.page.page import write_page
from petbench.report.write import answers_in, derive

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "img" / "report.png"
SIZE = "1280,1230"  # the answer, the picker and the table of the first ten


def main() -> None:
    """Raises SystemExit without Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium on PATH")
    examples = ROOT / "results" / "examples"
    report, records = derive(examples, {})
    with TemporaryDirectory() as folder:
        page = Path(folder) / "index.html"
        write_page(report, records, page, answers_in(examples))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}"]
        wait = ["--virtual-time-budget=2000", f"--user-data-dir={folder}/profile"]
        shot = [browser, *flags, *wait, f"--screenshot={PICTURE}", f"{page.as_uri()}#theme=light"]
        subprocess.run(shot, check=True, capture_output=True, timeout=120)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
