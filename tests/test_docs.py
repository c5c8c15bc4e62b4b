"""What the site's build (`make docs`, strict about its links) does not see: the README's links, and its own hooks."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


def anchors(page):
    """Those that headings get, as git hosts and the site make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^):]+?)(?:#([^)]+))?\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 20
    for target, anchor in links:
        assert (ROOT / target).is_file(), target
        assert not anchor or anchor in anchors(ROOT / target), f"{target}#{anchor}"


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("latex2mathml")
    return pytest.importorskip("docs.hooks", reason="the extra `docs` is not installed")


@pytest.mark.parametrize(
    ("folder", "link", "expected"),
    [
        ("", "[all](docs/config.md#irn)", "[all](config.md#irn)"),
        ("", "[how](config/README.md)", "[how](configuration-files.md)"),
        ("config", "[all](../docs/config.md)", "[all](config.md)"),
        ("config", "[the schema](schema.json)", "the schema"),
        ("docs", "[what is new](../CHANGELOG.md)", "[what is new](changelog.md)"),
        ("docs", "an [image](../Containerfile)", "an image"),
        ("docs", "[all](config.md#irn), [above](#here)", "[all](config.md#irn), [above](#here)"),
        ("docs", "[out](https://example.org/README.md)", "[out](https://example.org/README.md)"),
        ("docs", "[nowhere](../absent.md)", "[nowhere](../absent.md)"),
        ("docs", "![demo](demo.png)", "![demo](demo.png)"),
    ],
)
def test_links_out_of_docs_become_links_of_the_site_or_words(hooks, folder, link, expected):
    assert hooks._relinked(link, folder) == expected


def test_formulas_become_mathml(hooks):
    page = r'<p>a <span class="arithmatex">\(a &lt; b\)</span></p><div class="arithmatex">\[' + "\nx^2\n" + r"\]</div>"
    made = hooks.on_page_content(page, page=SimpleNamespace())
    assert made.count("<math ") == 2 and made.count('display="block"') == 1 and "arithmatex" not in made
    assert "&#x0003C;" in made and "<msup>" in made
