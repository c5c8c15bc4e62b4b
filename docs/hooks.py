"""What MkDocs is told for the site: pages from outside of docs/, links that leave it, formulas as MathML."""

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

# Pages of the site that are files elsewhere in the project.
_PAGES = {"README.md": "readme.md", "CHANGELOG.md": "changelog.md", "config/README.md": "configuration-files.md"}


def on_files(files, config):
    """Add the pages that docs/ does not have."""
    for source, page in _PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_relinked(text, posixpath.dirname(source))))
    return files


def on_page_markdown(markdown, page, **_):
    """Links of docs/ to other files of the project."""
    return markdown if page.file.generated_by else _relinked(markdown, "docs")


def on_page_content(content, **_):
    """Formulas in MathML, which browsers draw by themselves."""
    return re.sub(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', _mathml, content, flags=re.DOTALL)


def _mathml(match):
    return convert(html.unescape(match[3]), display="block" if match[2] == "[" else "inline")


def _relinked(text, folder):
    """Links of a file in a folder of the project as those of the site; where it lacks their target, the words alone."""

    def relinked(match):
        words, target = match.groups()
        path, mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        if re.match(r"\w+:|#", target) or (folder == "docs" and path.startswith("docs/")):
            return match[0]
        if path in _PAGES or path.startswith("docs/"):
            return f"[{words}]({_PAGES.get(path) or path.removeprefix('docs/')}{mark}{anchor})"
        return words if (ROOT / path).is_file() else match[0]

    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", relinked, text)
