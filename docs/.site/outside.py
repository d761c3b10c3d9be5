"""What the pages show of files outside of docs/: examples and the list of changes become pages, other links plain text.

In the repository such links lead to the files themselves.
"""

import re
from pathlib import Path
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")


def shown() -> dict[str, str]:
    """Returns by its path in the repository the page that shows a file."""
    examples = sorted((ROOT / "examples").glob("*.py"))
    return {"CHANGELOG.md": "changes.md", **{f"examples/{path.name}": f"examples/{path.stem}.md" for path in examples}}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for source, page in shown().items():
        text = (ROOT / source).read_text()
        if source.endswith(".py"):
            text = f"# {source}\n\n```python\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to files outside of docs/ to their pages, and leaves those without a page as text."""
    pages = shown()
    up = "../" * page.file.src_uri.count("/")

    def replace(link: re.Match[str]) -> str:
        text, target = link.groups()
        source = normpath(f"docs/{page.file.src_uri.rpartition('/')[0]}/{target}")
        if not (ROOT / source).exists():
            return link[0]  # --strict tells
        if source.startswith("docs/"):
            return link[0]
        return f"[{text}]({up}{pages[source]})" if source in pages else text

    return LINK.sub(replace, markdown)
