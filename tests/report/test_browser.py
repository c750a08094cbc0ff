"""The page in a real browser: no sideways scrolling on a phone, whatever is folded out."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE_PIXELS = 390
OUTER = """<!DOCTYPE html><body><p id="result">none</p><script>
function measure(frame) {
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach(one => one.open = true);
  const width = page.documentElement.scrollWidth;
  const pictures = [...page.images].filter(one => one.complete && one.naturalWidth > 0).length;
  document.getElementById("result").textContent = `width ${width} pictures ${pictures}`;
}
</script><iframe style="width: %dpx; height: 800px; border: 0" onload="measure(this)" srcdoc="%s"></iframe></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH")
def test_a_phone_needs_no_sideways_scrolling(rendered: Path, tmp_path: Path) -> None:
    # Headless windows cannot be as narrow as a phone, but a frame can; srcdoc lets the outer page look inside.
    page = (rendered / "index.html").read_text(encoding="utf-8")
    outer = tmp_path / "outer.html"
    outer.write_text(OUTER % (PHONE_PIXELS, html.escape(page)), encoding="utf-8")
    done = subprocess.run(
        [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            outer.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r'id="result">width (\d+) pictures (\d+)<', done.stdout)
    assert found, done.stderr[-2000:]
    assert int(found[1]) <= PHONE_PIXELS
    assert int(found[2]) == page.count("<img ")
