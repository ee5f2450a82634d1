"""The card of a dataset: what it is, how it is read.  Its licence is the person's to choose."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from ..data import exporting
from ..data.datasets import Picture, counted
from ..data.timed import is_timed
from .card import code, markdown

# what people put on their own pictures; any other name of the Hub's list can be typed
LICENCES = ("", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "apache-2.0", "mit", "other")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))  # the Hub's own words


def dataset_card(title: str, pictures: Sequence[Picture], licence: str, about: str, repo_id: str) -> str:
    """The whole README.md.  licence: a name of the Hub's list, "" for none; about: what the person says of it, "" for nothing."""
    captioned, several = sum(bool(p.captions) for p in pictures), any(len(p.captions) > 1 for p in pictures)
    timed = any(p.seconds and is_timed(p.caption) for p in pictures)
    clips = sum(bool(p.seconds) for p in pictures)
    meta: dict = {"license": licence} if licence else {}
    meta |= {"pretty_name": " ".join(title.split()), "task_categories": ["text-to-video" if clips else "text-to-image"]}
    meta["size_categories"] = [next((name for most, name in SIZES if len(pictures) < most), "1M<n<10M")]
    columns = [("image", "the picture"), ("text", "its caption")]
    columns += [("captions", "all of its captions, where it has several")] if several and not timed else []
    columns += [("captions", "all that is said of it, in a clip of each scene: `[0:04.2]` in front says when it begins")] if timed else []
    columns += [("mask", "white where the picture is to be learnt")] if any(p.mask and p.mask.kind == "file" for p in pictures) else []
    columns += [("conditioning_image", "its control picture, or the picture that it was made from")] if any(p.references for p in pictures) else []
    most = max((len(p.references) for p in pictures), default=0)
    columns += [(f"conditioning_image_{number}", "another picture that it was made from") for number in range(2, most + 1)]
    what = counted(len(pictures) - clips, "picture") + (f" and {counted(clips, 'clip')}" if clips else "")
    parts = [
        f"# {markdown(title)}",
        markdown(about),
        f"{what}, {captioned if captioned < len(pictures) else 'all'} with a caption, as an imagefolder:",
        f"```python\nfrom datasets import load_dataset\n\ndataset = load_dataset({repo_id!r})\n```",
        "| column | what it is |\n| --- | --- |\n" + "\n".join(f"| {code(name)} | {says} |" for name, says in columns),
        markdown(exporting.trimmed(pictures)),
        "" if licence else "Its owner has named no licence.",
    ]
    dumped = yaml.safe_dump(meta, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{dumped}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"
