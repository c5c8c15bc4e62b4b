"""The page as a browser shows it: opened from the disk in headless Chromium, on a wide screen and on a phone's.

A script that is appended to a copy of the page uses it as a reader would and says what it saw.
"""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from tests.unit.report.test_page import TRAIN, VAL, write

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=20000",
]  # fmt: skip
HEIGHT = 900

# In a frame, since a window of Chromium's is never narrower than 500 pixels.
FRAME = """<!doctype html><meta charset="utf-8"><style>body { margin: 0 }</style>
<iframe src="checked.html" style="border: 0; width: WIDTHpx; height: HEIGHTpx"></iframe><pre id="seen"></pre>
<script>addEventListener("message", event => { document.getElementById("seen").textContent = event.data });</script>"""

CHECK = """<script>
(async () => {
  const all = selector => [...document.querySelectorAll(selector)];
  const until = async test => {
    for (let k = 0; k < 200 && !test(); k++) await new Promise(resolve => setTimeout(resolve, 20));
    return test();
  };
  const loaded = () => all("#gallery .picture").every(box => box.children.length) &&
    all("#gallery img").every(image => image.complete && image.naturalWidth);
  const change = (control, value) => { control.value = value; control.dispatchEvent(new Event("input")) };
  const names = () => all("#gallery figcaption b").map(name => name.textContent);
  const seen = { width: innerWidth, broken: [] };
  addEventListener("error", event => seen.broken.push(event.message));
  try {
    document.getElementById("photos").scrollIntoView();
    await until(() => all("#gallery figure").length);
    for (const tab of all("[name=view]")) {
      tab.click();
      const shown = await until(loaded);
      seen[tab.value] = { names: names(), shown, layers: all("#gallery .layer").length };
    }
    document.querySelector("[name=view][value=photo]").click();
    change(document.getElementById("class"), "2");
    seen.of_class = names();
    change(document.getElementById("class"), "");
    change(document.getElementById("search"), "B/2");
    seen.searched = names();
    seen.count = document.getElementById("count").textContent;
    change(document.getElementById("search"), "");
    document.querySelector("[name=view][value=cams]").click();
    await until(() => loaded() && all("#gallery .layer").length);
    change(document.getElementById("strength"), "30");
    seen.opacity = getComputedStyle(document.querySelector("#gallery .layer")).opacity;
    document.querySelector("#gallery button").click();
    await until(() => all("#enlarged img").length >= 3);
    seen.enlarged = all("#enlarged figcaption").map(text => text.textContent);
    document.getElementById("large").close();
    seen.tables = all("table").every(table => table.offsetWidth > 100 && table.offsetHeight > 20);
    seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  } catch (error) {
    seen.broken.push(String(error));
  }
  parent.postMessage(JSON.stringify(seen), "*");
})();
</script>"""


def browse(folder, *, width):
    """What the script saw on the page in `folder`, in a window of that width."""
    page = (folder / "report.html").read_text()
    (folder / "checked.html").write_text(page.replace("</body>", CHECK + "</body>"))
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)).replace("HEIGHT", str(HEIGHT)))
    own = [f"--window-size={max(width, 500)},{HEIGHT}", f"--user-data-dir={folder / 'profile'}"]
    own += [f"--screenshot={folder / f'{width}.png'}", "--dump-dom", (folder / "frame.html").as_uri()]
    done = subprocess.run([BROWSER, *FLAGS, *own], capture_output=True, text=True, timeout=120)
    return json.loads(unescape(re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)[1]))


@pytest.mark.skipif(not BROWSER, reason="no Chromium")
@pytest.mark.parametrize("inline", [True, False], ids=["one file", "thumbnails beside it"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_in_a_browser(tmp_path, monkeypatch, width, inline):
    if not inline:
        monkeypatch.setattr("ssc.report.page._INLINE", 0)
        monkeypatch.setattr("ssc.report.page.PHOTOS_PER_FILE", 3)
        monkeypatch.setattr("ssc.report.thumbnails.PHOTOS_PER_FILE", 3)
    write(tmp_path)
    seen = browse(tmp_path, width=width)
    assert seen["broken"] == []
    assert seen["width"] == width
    assert seen["overflow"] <= 0
    assert seen["tables"]
    assert sorted(seen["photo"]["names"]) == sorted([*TRAIN, *VAL])
    assert seen["photo"]["layers"] == 0
    for kind, names in (("cams", TRAIN), ("pseudo_labels", TRAIN), ("predictions", VAL)):
        assert seen[kind]["shown"] and sorted(seen[kind]["names"]) == sorted(names)
    assert seen["pseudo_labels"]["layers"] == len(TRAIN)
    assert seen["cams"]["layers"] == sum(bool(labels) for labels in TRAIN.values())
    assert sorted(seen["of_class"]) == sorted(name for name, labels in {**TRAIN, **VAL}.items() if 2 in labels)
    assert seen["searched"] == ["b/2"]
    assert seen["count"] == f"1 of {len(TRAIN) + len(VAL)} photos"
    assert float(seen["opacity"]) == pytest.approx(0.3)
    assert seen["enlarged"] == ["Photo", "CAM", "Pseudo-label"]
