"""Pages as a browser sees them: headless Chromium, where one is installed."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
#: CSS pixels: a phone, a tablet, a desktop.
WIDTHS = (360, 768, 1280)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

#: Opens every page in a frame of every width, and writes down how wide it came out.
WRAPPER = """<!doctype html><meta charset="utf-8"><title>frames</title><pre id="found"></pre><script>
const pages = %s, widths = %s, found = [];
async function measure(page, width) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:900px;border:0`;
  frame.src = page;
  await new Promise(done => { frame.onload = done; document.body.append(frame); });
  const doc = frame.contentDocument, root = doc.documentElement;
  const main = doc.querySelector("main");
  found.push({ page, width, inner: frame.contentWindow.innerWidth, scroll: root.scrollWidth,
    words: doc.body.innerText.length, styled: main !== null && frame.contentWindow.getComputedStyle(main).maxWidth !== "none",
    images: [...doc.images].filter(image => image.naturalWidth === 0).length });
  frame.remove();
}
(async () => {
  for (const page of pages) for (const width of widths) await measure(page, width);
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script>"""


def opened(pages, widths=WIDTHS):
    """Open pages in Chromium and return what is wrong: overflow, nothing shown, no style, console messages."""
    with tempfile.TemporaryDirectory() as folder:
        wrapper = Path(folder) / "frames.html"
        addresses = [Path(page).resolve().as_uri() for page in pages]
        wrapper.write_text(WRAPPER % (json.dumps(addresses), json.dumps(widths)), encoding="utf-8")
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
            *(
                "--enable-logging=stderr",
                "--v=0",
                "--virtual-time-budget=120000",
                f"--user-data-dir={folder}/profile",
            ),
            *("--dump-dom", wrapper.as_uri()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    problems = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    told = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    found = json.loads(html.unescape(told.group(1))) if told and told.group(1) else []
    if len(found) != len(pages) * len(widths):
        return [
            *problems,
            f"{len(found)} of {len(pages) * len(widths)} frames came back: {done.stderr[-500:]}",
        ]
    for frame in found:
        where = f"{frame['page'].rpartition('/')[2]} at {frame['width']} px"
        if frame["inner"] != frame["width"]:
            problems.append(f"{where}: the frame is {frame['inner']} px wide")
        if frame["scroll"] > frame["width"]:
            problems.append(f"{where}: {frame['scroll']} px wide")
        if frame["words"] < 100 or not frame["styled"]:
            problems.append(f"{where}: nothing to read, or no style")
        if frame["images"]:
            problems.append(f"{where}: {frame['images']} images do not show")
    return problems
