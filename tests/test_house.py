"""The rooms: no two files import each other, and what plugins of before used is still found under its old name."""

from __future__ import annotations

import ast
from pathlib import Path

from training import moved, registry
from training.formats import adapting

REPO = Path(__file__).resolve().parents[1]
ROOTS = ("training", "ui", "captioning", "easel")


def test_no_two_files_import_each_other():
    files = {_name(p): p for root in ROOTS for p in (REPO / root).rglob("*.py")}
    arrows = {name: _imports(name, path, files) for name, path in files.items()}
    for name in arrows:
        assert not (circle := _way_back(name, arrows)), f"{' -> '.join(circle)} is a circle; what both need goes into a third file, or is handed over"


def test_a_plugin_written_before_the_rooms_still_loads(tmp_path):
    folder = tmp_path / "adapters"
    folder.mkdir()
    (folder / "old.py").write_text("from training.adapting import inject\nfrom training import registry\nTITLE = BLURB = 'old'\nUSES = ()\n")
    assert registry.get("adapters", "old", tmp_path).inject is adapting.inject
    for old, new in moved.MOVED.items():
        assert (REPO / "training" / f"{new.replace('.', '/')}.py").is_file() and not (REPO / "training" / f"{old}.py").exists()


def _name(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, files: dict[str, Path]) -> set[str]:
    """The files of ours that a file imports, those inside its functions too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {full if (full := f"{base}.{a.name}") in files else base for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return {f for f in found if f in files and f != name}


def _way_back(start: str, arrows: dict[str, set[str]]) -> list[str]:
    """The shortest circle through a file, or []."""
    ways, seen = [[start]], set()
    for way in ways:
        for to in sorted(arrows[way[-1]]):
            if to == start:
                return [*way, to]
            if to not in seen:
                seen.add(to)
                ways.append([*way, to])
    return []
