"""Whether a tag may be released: it, training/version.py and CHANGELOG.md must say the same.  Prints what the release changes.

    python launchers/release.py v1.2.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
UNRELEASED = "Unreleased"


def main(arguments: list[str]) -> int:
    """0 with the notes printed, 1 with what is wrong."""
    if str(REPO) not in sys.path:
        sys.path.insert(0, str(REPO))
    from training.version import VERSION

    try:
        print(notes(arguments[0], (REPO / "CHANGELOG.md").read_text(encoding="utf-8"), VERSION))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def sections(changelog: str) -> list[tuple[str, str]]:
    """(version or Unreleased, what it changes), newest first."""
    parts = re.split(r"^## (\S+).*$", changelog, flags=re.MULTILINE)[1:]
    return [(name, text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)]


def check(changelog: str, version: str) -> None:
    """Nothing, or ValueError where CHANGELOG.md has another version first, or has released this one while more is unreleased."""
    names = [name for name, _ in sections(changelog)]
    if names[0] != UNRELEASED and names[0] != version:
        raise ValueError(f"CHANGELOG.md's first section is {names[0]}, but training/version.py says {version}")
    if names[0] == UNRELEASED and version in names:
        raise ValueError(f"{version} is released already, and CHANGELOG.md has more that is {UNRELEASED}; raise the version in training/version.py")


def notes(tag: str, changelog: str, version: str) -> str:
    """What CHANGELOG.md says of the version.  Raises ValueError where tag, version and CHANGELOG.md do not agree."""
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, but training/version.py says {version}, whose tag is v{version}")
    check(changelog, version)
    name, text = sections(changelog)[0]
    if name == UNRELEASED:
        raise ValueError(f"CHANGELOG.md still calls its first section {UNRELEASED}; call it {version}, with the date")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
