"""Our own routes, all below /easel/: thumbnails, pictures, samples and results by id, the icon and the manifest.

An id is looked up, and the file that it gives must lie inside the folder it belongs to; nothing else of the disk is served.
With --auth they ask for the same login as Gradio's routes; only the icon and the manifest are open.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from safetensors import SafetensorError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from training import outside
from training.data import datasets, exporting, treatment
from training.data.pictures import MAX_FILE_BYTES
from training.home import BUILTIN, Home
from training.hub.publish import export_weights, offers_of
from training.plan import own
from training.runs import contactsheet, figures, notes, packing, shown
from training.runs.run import Run

from ..language import tr
from ..theme import ASSETS
from . import reports
from .logins import SIGNED_IN

# what a browser may show; by content, which the gate has checked, and by ending, which names it
PICTURE_TYPES = {
    ".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".jfif": "image/jpeg",
    ".gif": "image/gif", ".bmp": "image/bmp", ".avif": "image/avif",
}  # fmt: skip
ASSET_TYPES = {"icon.svg": "image/svg+xml", "icon-192.png": "image/png", "icon-512.png": "image/png", "icon-maskable-512.png": "image/png"}
CLIP_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".mov": "video/mp4"}  # .mov: the codecs that browsers play are MP4's
FOREVER = "private, max-age=31536000, immutable"  # the address holds a version
BRIEFLY = "private, max-age=30"
MAX_TEXT_BYTES = 4_000_000
SHEET = re.compile(r"contact-sheet\.(jpg|png)")
PARCELS = {"run": (False, False), "run-pictures": (False, True), "run-base": (True, False), "run-all": (True, True)}  # of a run to take away: with its base model, with its pictures
LORA = re.compile(r"(?:lora|step-(?P<step>\d{1,9}))(?:-(?P<file>[a-z_]{1,60}))?")


def thumb_url(ctx, dataset: str, picture: str, version: str = "", view: str = "") -> str:
    """Address of a 256 px thumbnail.  version: anything that changes with the picture, such as its sha256.  view: Treatment.view, turned so."""
    return ctx.url(f"/easel/thumb/{_quote(dataset)}/{_quote(picture)}{_version(version)}" + (f"{'&' if version else '?'}turned={_quote(view)}" if view else ""))


def picture_url(ctx, dataset: str, picture: str, version: str = "") -> str:
    """Address of a picture or clip as it was added (its thumbnail where a browser cannot show the format)."""
    return ctx.url(f"/easel/picture/{_quote(dataset)}/{_quote(picture)}{_version(version)}")


def kept_url(ctx, dataset: str, sha256: str) -> str:
    """Address of the thumbnail of a picture that a dataset holds or held, by its bytes: one in the bin, or of a version."""
    return ctx.url(f"/easel/kept/{_quote(dataset)}/{_quote(sha256)}?v=1")


def sample_url(ctx, run: str, file: str, version: str = "") -> str:
    """Address of a sample.  file: the path in the `sample` event, with or without its 'samples/'."""
    return ctx.url(f"/easel/sample/{_quote(run)}/{_quote(file.removeprefix('samples/'))}{_version(version)}")


def file_url(ctx, run: str, what: str) -> str:
    """Address of a download.  what: 'lora' (the result), 'step-500' (the LoRA of a checkpoint), 'job.yaml', 'log.txt', 'README.md', 'losses.csv', 'contact-sheet.jpg'."""
    return ctx.url(f"/easel/file/{_quote(run)}/{_quote(what)}")


def dataset_url(ctx, dataset: str, kind: str) -> str:
    """Address of a whole dataset as a ZIP.  kind: of exporting.KINDS."""
    return ctx.url(f"/easel/dataset/{_quote(dataset)}/{_quote(kind)}")


def preset_url(ctx, preset: str, what: str) -> str:
    """Address of a preset of one's own.  what: picture, or file (to pass on)."""
    return ctx.url(f"/easel/preset/{_quote(preset)}/{_quote(what)}")


def example_url(ctx, file: str) -> str:
    """Address of one of the example pictures."""
    return ctx.url(f"/easel/example/{_quote(file)}")


def routes(home: Home) -> list[Route]:
    """The routes, for launch(app_kwargs={"routes": …}): they come before Gradio's own."""

    def thumb(request: Request) -> Response:
        path = _thumbnail(home, request)
        if view := treatment.of_text(request.query_params.get("turned", "")):
            return _turned(path, view) if view.view else _picture(request, path)
        raise ValueError("turned is no view of a picture")

    def picture(request: Request) -> Response:
        path = _original(home, request)
        return _picture(request, path if path.suffix.lower() in PICTURE_TYPES | CLIP_TYPES else _thumbnail(home, request))

    def kept(request: Request) -> Response:
        dataset = datasets.open_dataset(home, request.path_params["dataset"])
        path = dataset.thumbnail_of(request.path_params["sha256"])
        return _picture(request, outside.inside(dataset.path, path.relative_to(dataset.path)))

    def sample(request: Request) -> Response:
        run = Run.open(home.outputs, request.path_params["run"])
        return _picture(request, inside(outside.folder_inside(run.path, "samples"), request.path_params["file"]))

    def example(request: Request) -> Response:
        return _picture(request, inside(BUILTIN / "example", request.path_params["file"]))

    def file(request: Request) -> Response:
        return _download(Run.open(home.outputs, request.path_params["run"]), request.path_params["what"])

    def dataset(request: Request) -> Response:
        ds, kind = datasets.open_dataset(home, request.path_params["dataset"]), request.path_params["kind"]
        headers = _attached(f"{ds.title}.zip" if kind == "text" else f"{ds.title}-{kind}.zip")
        return StreamingResponse(exporting.stream(ds, kind, exporting.check(ds, kind)), media_type="application/zip", headers=headers)

    def packed(request: Request) -> Response:
        run, (base, pictures) = Run.open(home.outputs, request.path_params["run"]), PARCELS[request.path_params["what"]]
        parcel = packing.parcel(run, home, base, pictures)
        return StreamingResponse(packing.stream(parcel), media_type="application/zip", headers=_attached(f"{run.id}.zip"))

    def report(request: Request) -> Response:
        made = reports.get(request.path_params["key"])
        if made.pictures:
            return StreamingResponse(made.zipped(), media_type="application/zip", headers=_attached("easel-report.zip"))
        return _attachment_text(made.text, "easel-report.txt")

    def preset(request: Request) -> Response:
        id, what = request.path_params["preset"], request.path_params["what"]
        if what == "picture":
            return Response(own.picture(home, id), media_type="image/webp", headers={"Cache-Control": BRIEFLY})
        if what != "file":
            raise FileNotFoundError(what)
        name, data = own.exported(home, id)
        return Response(data, media_type="application/yaml", headers=_attached(name))

    def outside_now(request: Request) -> Response:
        return JSONResponse(request.app.get_blocks().easel_outside(), headers={"Cache-Control": "no-store"})

    return [
        Route("/easel/now", _guarded(outside_now)),
        Route("/easel/preset/{preset}/{what}", _guarded(preset)),
        Route("/easel/run/{run}/{what}", _guarded(packed)),
        Route("/easel/report/{key}", _guarded(report)),
        Route("/easel/thumb/{dataset}/{picture}", _guarded(thumb)),
        Route("/easel/picture/{dataset}/{picture}", _guarded(picture)),
        Route("/easel/kept/{dataset}/{sha256}", _guarded(kept)),
        Route("/easel/sample/{run}/{file}", _guarded(sample)),
        Route("/easel/example/{file}", _guarded(example)),
        Route("/easel/file/{run}/{what}", _guarded(file)),
        Route("/easel/dataset/{dataset}/{kind}", _guarded(dataset)),
        Route("/easel/asset/{file}", _asset),
        Route("/easel/manifest.json", _manifest),
    ]


def inside(root: Path, name: str) -> Path:
    """root/name, a plain file that truly lies in root.  Raises FileNotFoundError, Refused otherwise."""
    if not name or name.startswith(".") or any(c in name for c in "/\\\0:"):
        raise FileNotFoundError(name)
    return outside.inside(root, name)


def logged_in(request: Request) -> bool:
    """Whether Gradio would let this request in: no login is asked for, or its cookie is a living one; or the password came along (see logins.Basic).

    The same test as gradio.routes' get_current_user and login_check, which are closures and cannot be called from here.
    """
    app = request.app
    if request.scope.get(SIGNED_IN):
        return True
    if app.auth_dependency is not None:
        return app.auth_dependency(request) is not None
    if app.auth is None:
        return True
    cookie = request.cookies.get(f"access-token-{app.cookie_id}") or request.cookies.get(f"access-token-unsecure-{app.cookie_id}")
    return cookie is not None and app.tokens.get(cookie) is not None


def _guarded(answer: Callable[[Request], Response]):
    """A handler that asks for the login, works in a thread, and turns what is not there into 404."""

    async def handle(request: Request) -> Response:
        if not logged_in(request):
            return PlainTextResponse(tr("Not signed in.") + "\n", status_code=401)
        try:
            return await run_in_threadpool(answer, request)
        except (ValueError, KeyError, OSError, SafetensorError):  # a bad id, one that is gone, damaged or outside: all the same from here
            return PlainTextResponse(tr("There is no such file.") + "\n", status_code=404)

    return handle


def _thumbnail(home: Home, request: Request) -> Path:
    dataset = datasets.open_dataset(home, request.path_params["dataset"])
    path = dataset.thumbnail(request.path_params["picture"])
    return outside.inside(dataset.path, path.relative_to(dataset.path))


def _original(home: Home, request: Request) -> Path:
    dataset = datasets.open_dataset(home, request.path_params["dataset"])
    return inside(dataset.path, request.path_params["picture"])


def _picture(request: Request, path: Path) -> Response:
    kind = (PICTURE_TYPES | CLIP_TYPES).get(path.suffix.lower())
    if kind is None:
        raise FileNotFoundError(path)
    outside.check_length(path, MAX_FILE_BYTES)
    return FileResponse(path, media_type=kind, headers={"Cache-Control": FOREVER if "v" in request.query_params else BRIEFLY})


def _turned(path: Path, how: treatment.Treatment) -> Response:
    """A thumbnail, which the gate has made, as its picture is learnt."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(outside.read_plain(path, MAX_FILE_BYTES)), formats=("WEBP",)) as image:
        how.apply(image.convert("RGB")).save(out, "WEBP", quality=90)
    return Response(out.getvalue(), media_type="image/webp", headers={"Cache-Control": FOREVER})


def _download(run: Run, what: str) -> Response:
    lora = LORA.fullmatch(what)
    if what == "log.txt":
        return _attachment_text(run.log_tail(100_000), f"{run.id}.log.txt")
    if what == "lora":  # the result as it lies there, which asks for no plugin
        path = run.result()
        if path is None or path.is_dir():
            raise FileNotFoundError(what)
        name = path.name
    elif lora:
        path, name = _weights(run, lora["step"], lora["file"])
    elif what == "losses.csv":
        return StreamingResponse(figures.written(figures.rows(run)), media_type="text/csv; charset=utf-8", headers=_attached(f"{run.id}-losses.csv"))
    elif sheet := SHEET.fullmatch(what):
        return _sheet(run, sheet[1])
    elif what == "export.zip":
        path, name = inside(run.path, what), f"{run.title}.zip"
    elif what in ("job.yaml", "README.md"):
        path, name = inside(run.path, what), f"{run.id}-{what}"
    else:
        raise FileNotFoundError(what)
    path = outside.inside(run.path, path.relative_to(run.path))
    if what in ("job.yaml", "README.md"):
        outside.check_length(path, MAX_TEXT_BYTES)
    return FileResponse(path, media_type="application/octet-stream", filename=name, headers={"Cache-Control": "private, no-store"})


def _weights(run: Run, step: str | None, asked: str | None) -> tuple[Path, str]:
    """(file, its name for the user) of the result, or of a checkpoint.  asked: Offer.id; without it, the one that most programs read.

    Raises ValueError, FileNotFoundError where there is none.
    """
    files = offers_of(run)
    offer = next((o for o in files if asked in (None, o.id)), None)
    if offer is None:
        raise FileNotFoundError(asked)
    number, name = ("final", run.title) if step is None else (int(step), f"{run.id}-step-{step}")
    return export_weights(run, number, run.path / f".{number}-{offer.id}.safetensors", offer.layout, offer.expert), offer.file_name(name)


def _sheet(run: Run, ending: str) -> Response:
    """The samples in one picture, without the prompts that are hidden where others are left."""
    said = notes.of(run)
    rows = shown.rows(shown.view_of(run), shown.fixed_of(run.job()))
    left = [row for row in rows if row.key not in said.hidden] or rows
    made = contactsheet.make(run, contactsheet.plan(run.title, left, said), ending)
    return Response(made, media_type=PICTURE_TYPES[f".{ending}"], headers=_attached(contactsheet.name(run, ending)))


def _attachment_text(text: str, name: str) -> Response:
    return PlainTextResponse(text, headers=_attached(name))


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=utf-8''{_quote(name)}", "Cache-Control": "private, no-store"}


async def _asset(request: Request) -> Response:
    name = request.path_params["file"]
    if name not in ASSET_TYPES:
        return PlainTextResponse(tr("There is no such file.") + "\n", status_code=404)
    return FileResponse(ASSETS / name, media_type=ASSET_TYPES[name], headers={"Cache-Control": "public, max-age=86400"})


async def _manifest(request: Request) -> Response:
    """What makes the page installable as an app; addresses are relative to it, so a root path needs no care."""
    icons = [
        {"src": "asset/icon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any"},
        {"src": "asset/icon-192.png", "sizes": "192x192", "type": "image/png", "purpose": "any"},
        {"src": "asset/icon-512.png", "sizes": "512x512", "type": "image/png", "purpose": "any"},
        {"src": "asset/icon-maskable-512.png", "sizes": "512x512", "type": "image/png", "purpose": "maskable"},
    ]
    content = {
        "name": "Easel", "short_name": "Easel", "description": tr("Train a LoRA from your pictures."), "id": "../", "start_url": "../", "scope": "../",
        "display": "standalone", "background_color": "#f6f4f0", "theme_color": "#4655d8", "icons": icons,
    }  # fmt: skip
    return JSONResponse(content, media_type="application/manifest+json", headers={"Cache-Control": "private, max-age=3600", "vary": "Accept-Language, Cookie"})


def _quote(part: str) -> str:
    return quote(part, safe="")


def _version(version: str) -> str:
    return f"?v={_quote(version[:12])}" if version else ""
