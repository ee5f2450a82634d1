"""A place: Modal, with the user's own account.  The run is a shelf (training/away/shelf.py) in a volume of its own, which the app of app() reads and writes.

The packages are installed into the app's image, which Modal builds on a processor and keeps: the card is paid for only while it trains.

Facts, from modal 1.6.4: a function has 300 s unless it is told otherwise; what it writes to a volume is seen by others after `commit`, and what they write
after `reload`, which is refused while a file there is open; a call goes on when nobody listens, and is found again by its id.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import Field

from ..away import checkout, shelf, shelved
from ..away.place import Look, Machine, Refused, Unreachable, token
from ..config import Part
from ..sentences import sentences

EASEL_API = 1
TITLE = "Modal"
BLURB = "A card of Modal, by the second, with your own account there."
ENVIRONMENT = ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_PROFILE", "MODAL_CONFIG_PATH", "MODAL_ENVIRONMENT")  # of whoever starts it
VERSION = "1.6.4"  # of the package that this was written for
SHELF, WORK = "/easel", "/tmp/easel"
EVERY_S = shelved.PAUSE_S  # between two looks
MOST_S = 24 * 3600  # Modal's own limit of one call
TORCH = "cu130"  # the build for the cards that Modal has; the image is built where there is none
CURRENCY = "USD"
# Modal's names of cards, their memory, and dollars a second as modal.com/pricing had them in 2026; it has no way to ask for them.  Cores and RAM come on top.
CARDS = {
    "T4": (16, 0.000164), "L4": (24, 0.000222), "A10": (24, 0.000306), "L40S": (48, 0.000542), "A100-40GB": (40, 0.000583), "A100-80GB": (80, 0.000694),
    "H100": (80, 0.001097), "H200": (141, 0.001261), "B200": (180, 0.001736),
}  # fmt: skip
TOGETHER, FEWER = (1, 2, 4, 8), {"A10": 4}  # cards in one container, and where Modal has fewer; modal.com/docs/guide/gpu
RAM_BYTES, CORES = 64 * 10**9, 4.0  # asked for, of each card; a base model passes through RAM on its way to the card
MOST_RAM_BYTES = 256 * 10**9


class Options(Part):
    """What Modal is told."""

    machine: str = Field("", description="Card, by Modal's name, such as L4 or H100, or several of them, such as L4:4; about what it costs by the hour is shown before the start.")
    limit_hours: float = Field(0.0, ge=0, le=24, description="Hours after which Modal ends the training, whatever it does; 0 takes them from the estimate, and never more than Modal's 24.")
    keep: bool = Field(False, description="Leave the volume with what was sent and made there.")
    environment: str = Field("", pattern=r"^[\w.\-]*$", description="Modal environment to run in; empty means your account's default.")
    token_along: bool = Field(False, description="Send your Hugging Face token along as a secret of Modal's, for a base model whose licence had to be accepted.")


def ready(options: Options) -> str:
    if importlib.util.find_spec("modal") is None:
        return f"The package modal is missing: pip install modal=={VERSION}, then modal setup."
    if not _signed_in():
        return "Nobody is signed in to Modal on this computer: run 'modal setup' once."
    return ""


def machines(options: Options) -> list[Machine]:
    """Each card alone, and as many together as Modal gives."""
    return [
        Machine(f"{name}:{n}" if n > 1 else name, f"{n} × {name}" if n > 1 else name, gb * 10**9, _ram(n), n * a_second * 3600, CURRENCY, (gb * 10**9,) * n)
        for name, (gb, a_second) in CARDS.items() for n in TOGETHER if n <= FEWER.get(name, max(TOGETHER))
    ]  # fmt: skip


def _ram(cards: int) -> int:
    return min(cards * RAM_BYTES, MOST_RAM_BYTES)


def leaves(options: Options) -> str:
    kept = "The pictures, captions and settings of this run, and Easel's own code, go to a volume of your account at Modal, which stays there until you delete it."
    deleted = "The pictures, captions and settings of this run, and Easel's own code, go to a volume of your account at Modal, which is deleted when the result is home."
    along = "Your Hugging Face token goes along as a secret."
    return (kept if options.keep else deleted) + f" {along}" * bool(options.token_along)


def where(options: Options) -> str:
    return f"Modal ({options.machine})" if options.machine else "Modal"


def send(bundle, options: Options, handle: dict, say) -> dict:
    made = {**handle, "volume": f"easel-{handle['id']}"}
    with _asking():
        _volume(made, options, create=True).hydrate()
    shelf.send(Volume(made, options), bundle, str(shelf.load_job(bundle)["model"]["source"]), say)
    return made


def start(handle: dict, options: Options, limit_s: int) -> dict:
    """Deploys the app and calls it once.  Where the answer of a call was lost, the second one waits for the first and then finds that all is done."""
    if "call" in handle:
        return handle
    offered = machines(options)
    if options.machine not in {m.name for m in offered}:
        alone = ", ".join(f"{m.name} (about ${m.price_per_hour:.2f} an hour)" for m in offered if len(m.cards) == 1)
        raise Refused(f"choose the card, as it is paid for by the second; Modal has: {alone}; and several of them, such as L4:4")
    limit_s = min(limit_s, MOST_S)
    with _asking():
        import modal

        made = app(handle, options, limit_s)
        made.deploy(name=handle["volume"], environment_name=options.environment or None)
        call = modal.Function.from_name(handle["volume"], "train", environment_name=options.environment or None).spawn(limit_s)
    return {**handle, "call": call.object_id, "machine": options.machine, "limit_s": limit_s}


def app(handle: dict, options: Options, limit_s: int):
    """The app: one function, `train`, on one card or several, whose image has the packages that are pinned here."""
    import modal

    image = modal.Image.debian_slim(python_version=f"{sys.version_info.major}.{sys.version_info.minor}").env(
        {"EASEL_VENV": "/opt/easel", "EASEL_CONTAINER": "1", "EASEL_TORCH": TORCH, "PIP_NO_CACHE_DIR": "1", "PYTHONUTF8": "1", "HF_HOME": "/tmp/huggingface"}
    )
    for name, (path, _, _) in checkout.files(builtin=False).items():
        if name == "requirements.txt" or name.startswith("launchers/"):
            image = image.add_local_file(path, f"/setup/{name}", copy=True)
    image = image.run_commands("cd /setup && python launchers/install.py ensure")
    volume, count = _volume(handle, options), int(options.machine.partition(":")[2] or 1)
    secrets = [modal.Secret.from_dict({"HF_TOKEN": _hub_token()})] if options.token_along else []
    made = modal.App(handle["volume"], tags={"app": "easel", "run": handle["id"]})

    made.function(
        image=image, gpu=options.machine, cpu=count * CORES, memory=_ram(count) // 2**20, volumes={SHELF: volume}, secrets=secrets, timeout=limit_s, retries=0, max_containers=1,
        serialized=True, include_source=False, name="train",
    )(entry(volume, SHELF, WORK))  # fmt: skip
    return made


def entry(volume, folder: str, work: str):
    """What runs at Modal.  It is sent there as it stands, so it knows nothing of Easel but what lies on the shelf, which is mounted at `folder`."""

    def train(limit_s: int) -> int:
        import runpy
        from pathlib import Path

        volume.reload()
        there = runpy.run_path(f"{folder}/start.py", run_name="easel_start")
        lies = there["Shelf"](Path(folder), refresh=volume.reload, settle=volume.commit)
        if any(there["is_over"](lies.read(f"out/{name}")) for name in lies.names("out")[-1:]):
            return 0
        return there["serve"](lies, Path(work), limit_s)

    return train


def look(handle: dict, options: Options, offset: int) -> Look:
    """The call is asked before its reports, so that one which ends in between has told everything."""
    why = _ending(handle)
    return shelf.look(shelf.peek(Volume(handle, options), offset), why)


def tell(handle: dict, options: Options, line: str) -> None:
    shelf.tell(Volume(handle, options), line)


def listing(handle: dict, options: Options) -> dict[str, tuple[str, int]]:
    return shelf.listing(Volume(handle, options))


def fetch(handle: dict, options: Options, name: str, target: Path) -> None:
    shelf.fetch(Volume(handle, options), name, target)


def fetch_many(handle: dict, options: Options, files: Mapping[str, Path]) -> None:
    shelf.fetch_many(Volume(handle, options), files)


def end(handle: dict, options: Options) -> str:
    """Ends the call, stops the app, deletes the volume.  Modal tells no price; its page does."""
    handle = {**handle, "volume": f"easel-{handle['id']}"}  # also of a handle that send never gave back
    environment = options.environment or None
    with _asking():
        import modal

        if "call" in handle:
            modal.FunctionCall.from_id(handle["call"]).cancel(terminate_containers=True)
        try:
            modal.App.lookup(handle["volume"], environment_name=environment).stop()
        except modal.exception.NotFoundError:
            pass  # it was never deployed, or is stopped already
        if not options.keep:
            modal.Volume.objects.delete(handle["volume"], allow_missing=True, environment_name=environment)
    left = f"The volume {handle['volume']} was left there, as you asked." if options.keep else ""
    return sentences("What it cost is on your page modal.com/settings/usage" if "call" in handle else "", left)


def _ending(handle: dict) -> str:
    """Why it is over though nobody there said so, in a sentence; "" while it waits or works."""
    if "call" not in handle:
        return ""
    with _asking():
        import modal

        try:
            modal.FunctionCall.from_id(handle["call"]).get(timeout=0)
        except modal.exception.FunctionTimeoutError:
            return f"Modal ended the training after its time limit of {handle['limit_s'] / 3600:.1f} hours; give it more limit_hours in place.options"
        except modal.exception.OutputExpiredError:
            return "Modal keeps a result for some days only, and they are over"
        except (TimeoutError, modal.exception.TimeoutError):
            return ""
        except modal.exception.InputCancellation:
            return "the training was cancelled at Modal"
        except modal.exception.RemoteError as error:
            return f"the training was ended at Modal: {error}"
    return "the training ended at Modal without a word of how it went"


class Volume:
    """A shelf in a volume of Modal."""

    def __init__(self, handle: dict, options: Options):
        self.handle, self.options = handle, options

    def put(self, files: Mapping[str, Path | bytes]) -> None:
        with _asking(), _volume(self.handle, self.options).batch_upload(force=True) as batch:
            for name, source in files.items():
                batch.put_file(io.BytesIO(source) if isinstance(source, bytes) else source, f"/{name}")

    def names(self, folder: str) -> dict[str, int]:
        with _asking():
            import modal

            try:
                found = _volume(self.handle, self.options).listdir(f"/{folder}")
            except (FileNotFoundError, modal.exception.NotFoundError):  # nothing lies in that folder yet
                return {}
        return {PurePosixPath(entry.path).name: entry.size for entry in found if entry.type.name == "FILE" and not PurePosixPath(entry.path).name.startswith(".")}

    def get(self, files: Mapping[str, Path]) -> None:
        for name, target in files.items():
            with _asking(), open(target, "wb") as out:
                out.writelines(_volume(self.handle, self.options).read_file(f"/{name}"))


def _volume(handle: dict, options: Options, create: bool = False):
    import modal

    return modal.Volume.from_name(handle["volume"], environment_name=options.environment or None, create_if_missing=create)


def _signed_in() -> bool:
    """Has Modal's own store, or the environment, a token?"""
    from modal.config import config

    return bool(config.get("token_id") and config.get("token_secret"))


def _hub_token() -> str:
    from ..hub.account import find_token

    secret = token() or find_token()[0]
    if not secret:
        raise Refused("token_along is on, but nobody is signed in to Hugging Face: sign in on the Publish tab, or turn it off")
    return secret.reveal()


@contextmanager
def _asking() -> Iterator[None]:
    """Whatever Modal or the way to it does wrong inside becomes Unreachable or Refused."""
    if importlib.util.find_spec("modal") is None:
        raise Refused(f"the package modal is missing: pip install modal=={VERSION}, then modal setup")
    from modal import exception

    try:
        yield
    except (Unreachable, Refused):
        raise
    except exception.AuthError:
        raise Refused("Modal does not accept the token of this computer: run 'modal setup' again and press Resume") from None
    except (exception.PermissionDeniedError, exception.ResourceExhaustedError) as error:
        raise Refused(f"Modal refuses, for a right or for credit that the account has not: {error}") from None
    except (exception.ConnectionError, exception.ServiceError, exception.InternalError, exception.InternalFailure, exception.TimeoutError, exception.ClientClosed, OSError) as error:
        raise Unreachable(f"Modal cannot be reached ({' '.join(str(error).split())[:200]})") from None
    except exception.Error as error:
        raise Refused(f"Modal says: {' '.join(str(error).split())[:300]}") from None
