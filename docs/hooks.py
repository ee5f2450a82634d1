"""What the site needs that the pages, which are also read in the repository, do not say."""

from __future__ import annotations

import re
from pathlib import Path

OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\((?:\.\./|examples/)[^)]*\)")  # a file of the repository that is no page of the site


def on_config(config):
    """The same settings; a page that the table of contents in mkdocs.yml does not have yet stands at its end."""
    named = set(re.findall(r"[\w-]+\.md", str(config.nav)))
    if left := sorted({page.name for page in Path(config.docs_dir).glob("*.md")} - named):
        config.nav.append({"More": left})
    return config


def on_page_markdown(markdown: str, **_) -> str:
    """The page, with the words of a link that leads into the repository in place of the link."""
    return OUTSIDE.sub(r"\1", markdown)
