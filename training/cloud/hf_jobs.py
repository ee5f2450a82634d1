"""A place: Hugging Face Jobs.  The run lies on a shelf (training/away/shelf.py) in a private bucket of its own, which the job has mounted.

The job is told no token: it reads and writes the bucket, and the base model, through mounts that the Hub makes with the account's own rights.  Only where
`mount` is off is the token needed there, and then it goes as a secret, which the Hub keeps encrypted.

Facts, from the Hub's documentation of Jobs (hub-docs, jobs-configuration, jobs-pricing, jobs-manage) and huggingface_hub 2.4.0: billed by the minute while
starting and running; without a time limit a job ends after 30 minutes, with the message "Job timeout"; models are mounted read-only and read as they are
asked for; a file written to a bucket's mount is there when it is closed, and what others wrote is seen 10 to 30 s later.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from ..away import shelf, shelved
from ..away.place import Look, Machine, Refused, Unreachable, token
from ..config import Part
from ..sentences import sentences

EASEL_API = 1
TITLE = "Hugging Face Jobs"
BLURB = "A card of Hugging Face, by the minute, with your own account; needs credit there, and a token that may run jobs."
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"  # Python and uv, on Debian; also what huggingface_hub runs scripts in
SHELF, BASE, WORK = "/easel", "/base", "/tmp/easel"
EVERY_S = shelved.PAUSE_S  # between two looks: each is half a dozen requests, of which the Hub grants some hundreds in five minutes
LABEL = "easel-run"
OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
LOG_LINES = 60
CURRENCY = "USD"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[\w.\-]{1,96}", re.ASCII)
_SIZE = re.compile(r"([\d.]+)\s*([GTM])i?B", re.IGNORECASE)
_BYTES = {"M": 10**6, "G": 10**9, "T": 10**12}


class Options(Part):
    """What Hugging Face Jobs is told."""

    machine: str = Field("", description="Hardware, by the name that Hugging Face gives it, such as l4x1; its price by the hour is shown before the start.")
    limit_hours: float = Field(0.0, ge=0, le=24 * 30, description="Hours after which Hugging Face ends the job, whatever it does; 0 takes them from the estimate.")
    keep: bool = Field(False, description="Leave the bucket with what was sent and made there, which may cost storage.")
    account: str = Field("", pattern=r"^[\w.\-]*$", description="Organisation that pays and owns the bucket; empty means your own account.")
    image: str = Field("", description="Docker image to train in, such as one built from Easel's Dockerfile, which has the packages already; empty means one with Python and uv, in which they are installed first.")
    torch: str = Field("", pattern=r"^[a-z]*[0-9.]*$", description="Build of torch to install there, such as cu126; empty takes the one that fits the card and its driver.")
    mount: bool = Field(True, description="Read a base model of the Hub from a mount; off means that the job downloads it, for which your token goes along as a secret.")


def ready(options: Options) -> str:
    """Why it cannot be used now, in a sentence; asks nobody, so that a list of places appears at once."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "Offline mode is on (HF_HUB_OFFLINE), and Hugging Face Jobs is on the internet."
    return "" if _token() else "Nobody is signed in to Hugging Face: sign in on the Publish tab, with a token that may run jobs."


def machines(options: Options) -> list[Machine]:
    """What Hugging Face offers, the cheapest first."""
    with _asking("list its hardware"):
        found = _api().list_jobs_hardware()
    made = []
    for one in found:
        cards = int(one.accelerator.quantity) if one.accelerator else 0
        if one.accelerator and (one.accelerator.type != "gpu" or not cards):
            continue
        vram = _bytes(one.accelerator.vram) // cards if one.accelerator else 0  # said of all cards together
        price = one.unit_cost_usd * {"second": 3600, "minute": 60, "hour": 1}[one.unit_label]
        made.append(Machine(one.name, one.pretty_name if vram else f"{one.pretty_name} ({one.cpu})", vram, _bytes(one.ram), price, CURRENCY, (vram,) * cards))
    return sorted(made, key=lambda m: (m.price_per_hour, m.name))


def leaves(options: Options) -> str:
    owner = options.account
    if options.keep:
        mine = "The pictures, captions and settings of this run, and Easel's own code, go to a private bucket of your account at Hugging Face, which stays there until you delete it."
        theirs = f"The pictures, captions and settings of this run, and Easel's own code, go to a private bucket of the organisation {owner} at Hugging Face, which stays there until you delete it."
    else:
        mine = "The pictures, captions and settings of this run, and Easel's own code, go to a private bucket of your account at Hugging Face, which is deleted when the result is home."
        theirs = f"The pictures, captions and settings of this run, and Easel's own code, go to a private bucket of the organisation {owner} at Hugging Face, which is deleted when the result is home."
    along = "Your token goes along as a secret."
    return (theirs if owner else mine) + f" {along}" * (not options.mount)


def where(options: Options) -> str:
    return f"Hugging Face ({options.machine})" if options.machine else "Hugging Face"


def send(bundle, options: Options, handle: dict, say) -> dict:
    """Makes the private bucket and puts there what it lacks."""
    model = shelf.load_job(bundle)["model"]
    source, revision = str(model["source"]), str(model["revision"])
    mounted = options.mount and bool(_HUB_ID.fullmatch(source))
    with _asking("make a bucket"):
        api = _api()
        owner, bucket = _named(api, handle, options)
        api.create_bucket(bucket, private=True, exist_ok=True)
        if not api.bucket_info(bucket).private:
            raise Refused(f"the bucket {bucket} is public, so nothing was put there; delete it, or make it private, and start again")
    shelf.send(Bucket(bucket), bundle, source, say)
    return {**handle, "owner": owner, "bucket": bucket, "base": [source, revision] if mounted else []}


def start(handle: dict, options: Options, limit_s: int) -> dict:
    """Starts the job, or finds the one that was started before the answer could be written down.  limit_s: what the job may take, its setting up included."""
    from huggingface_hub import Volume

    if "job" in handle:
        return handle
    offered = {m.name: m for m in machines(options)}
    if options.machine not in offered:
        some = ", ".join(f"{m.name} (${m.price_per_hour:.2f} an hour)" for m in offered.values() if m.vram_bytes)
        raise Refused(f"Hugging Face has no hardware called {options.machine!r}; there are: {some}" if options.machine else f"choose the hardware, as it is paid for by the minute: {some}")
    command = ["python", f"{SHELF}/{shelf.START}", "run", SHELF, WORK, str(limit_s), *([f"{handle['base'][0]}={BASE}"] if handle["base"] else [])]
    volumes = [Volume(type="bucket", source=handle["bucket"], mount_path=SHELF)]
    if handle["base"]:
        source, revision = handle["base"]
        volumes.append(Volume(type="model", source=source, mount_path=BASE, revision=revision or None, read_only=True))
    with _asking("run a job"):
        api = _api()
        job = _begun(api, handle)
        if job is None:
            job = api.run_job(
                image=options.image or IMAGE, command=command, flavor=options.machine, timeout=limit_s, attempts=1,
                env={"EASEL_TORCH": options.torch} if options.torch else None,
                secrets=None if options.mount else {"HF_TOKEN": _token().reveal()}, labels={"app": "easel", LABEL: handle["id"]}, volumes=volumes, namespace=handle["owner"],
            )  # fmt: skip
    return {**handle, "job": job.id, "url": job.url, "machine": options.machine, "price_per_hour": offered[options.machine].price_per_hour, "limit_s": limit_s}


def look(handle: dict, options: Options, offset: int) -> Look:
    """Its stage is asked before its reports, so that a job which ends in between has told everything.  As long as the bucket is there, nothing is gone."""
    with _asking("look at a job"):
        api = _api()
        job = _job(api, handle)
    try:
        found = shelf.peek(Bucket(handle["bucket"]), offset)
    except Gone as gone:
        return Look("gone", b"", offset, "", str(gone))
    why = _ending(job, handle)
    seen = shelf.look(found, why)
    if why and job is not None and not seen.log:  # it ended before our half there came to write one
        return Look(seen.status, seen.events, seen.offset, _log(api, handle), seen.why)
    return seen


def tell(handle: dict, options: Options, line: str) -> None:
    shelf.tell(Bucket(handle["bucket"]), line)


def listing(handle: dict, options: Options) -> dict[str, tuple[str, int]]:
    return shelf.listing(Bucket(handle["bucket"]))


def fetch(handle: dict, options: Options, name: str, target: Path) -> None:
    shelf.fetch(Bucket(handle["bucket"]), name, target)


def fetch_many(handle: dict, options: Options, files: Mapping[str, Path]) -> None:
    shelf.fetch_many(Bucket(handle["bucket"]), files)


def end(handle: dict, options: Options) -> str:
    """Ends the job if it still runs, deletes the bucket, and says what it cost.  Also of a handle that send never gave back."""
    from huggingface_hub.errors import BucketNotFoundError

    with _asking("end a job"):
        api = _api()
        owner, bucket = _named(api, handle, options)
        handle = {**handle, "owner": owner}
        job = _job(api, handle) if "job" in handle else _begun(api, handle)
        if job is not None and job.status.stage not in OVER:
            api.cancel_job(job_id=job.id, namespace=owner)
            job = api.inspect_job(job_id=job.id, namespace=owner)
        try:
            if not options.keep and api.bucket_info(bucket).private:  # a public one was never ours
                api.delete_bucket(bucket, missing_ok=True)
        except BucketNotFoundError:
            pass
    left = f"The bucket {bucket} was left there, as you asked." if options.keep else ""
    return sentences(_cost(job, handle), left)


def _named(api, handle: dict, options: Options) -> tuple[str, str]:
    """(who pays, the bucket of this run)."""
    owner = handle.get("owner") or options.account or api.whoami()["name"]
    return owner, f"{owner}/easel-{handle['id']}".lower()


def _ending(job, handle: dict) -> str:
    """Why it is over though nobody there said so, in a sentence; "" while it waits or works."""
    if job is None:
        return "the job is no longer there: it was deleted at Hugging Face"
    stage, said = str(getattr(job.status.stage, "value", job.status.stage)), job.status.message or ""
    if stage not in OVER:
        return ""
    if "timeout" in said.lower():
        return f"Hugging Face ended the job after its time limit of {handle.get('limit_s', 0) / 3600:.1f} hours; give it more limit_hours in place.options"
    if stage in ("CANCELED", "DELETED"):
        return f"the job was {'cancelled' if stage == 'CANCELED' else 'deleted'} at Hugging Face"
    if stage == "COMPLETED":
        return "the job ended without a word of how the training went"
    return f"the job failed at Hugging Face{f': {said}' if said else ''}; its page is {handle.get('url', '')}"


def _cost(job, handle: dict) -> str:
    """What it cost, by the minutes that the Hub counted."""
    if job is None or job.durations is None or "price_per_hour" not in handle:
        return ""
    minutes = math.ceil((job.durations.running_secs or 0) / 60)
    return f"It ran for {minutes} {'minute' if minutes == 1 else 'minutes'} on {handle['machine']} and cost about ${minutes * handle['price_per_hour'] / 60:.2f}"


def _job(api, handle: dict):
    """The job as the Hub has it; None where it was deleted, or never started."""
    from huggingface_hub.errors import HfHubHTTPError

    if "job" not in handle:
        return None
    try:
        return api.inspect_job(job_id=handle["job"], namespace=handle["owner"])
    except HfHubHTTPError as error:
        if error.response.status_code == 404:
            return None
        raise


def _begun(api, handle: dict):
    """The job of this run, however it is doing; None where there is none."""
    jobs = api.list_jobs(labels={LABEL: handle["id"]}, namespace=handle["owner"])
    return next((job for job in jobs if (job.labels or {}).get(LABEL) == handle["id"]), None)


def _log(api, handle: dict) -> str:
    """The last lines that the job wrote."""
    from ..hub.secrets import mask

    with _asking("read a job's log"):
        return mask("\n".join(api.fetch_job_logs(job_id=handle["job"], namespace=handle["owner"], follow=False, tail=LOG_LINES)))


class Gone(Refused):
    """The bucket is not there."""


class Bucket:
    """A shelf in a bucket of the Hub."""

    def __init__(self, id: str):
        self.id = id

    def put(self, files: Mapping[str, Path | bytes]) -> None:
        from huggingface_hub.errors import BucketBatchError

        with _asking("write to the bucket"):
            try:
                _api().batch_bucket_files(self.id, add=[(source, name) for name, source in files.items()])
            except BucketBatchError as error:  # some of it is there: the rest is put again
                raise Unreachable(f"Hugging Face took only a part of what was sent ({' '.join(str(error).split())[:200]})") from None

    def names(self, folder: str) -> dict[str, int]:
        from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError

        with _asking("read the bucket"):
            try:
                found = list(_api().list_bucket_tree(self.id, prefix=folder, recursive=True))
            except BucketNotFoundError:
                raise Gone(f"the bucket {self.id} was deleted at Hugging Face, and with it what was sent and made") from None
            except HfHubHTTPError as error:
                if error.response.status_code == 404:  # nothing lies in that folder yet
                    return {}
                raise
        return {f.path.removeprefix(f"{folder}/"): f.size for f in found if f.type == "file" and f.path.startswith(f"{folder}/")}

    def get(self, files: Mapping[str, Path]) -> None:
        from huggingface_hub.errors import EntryNotFoundError

        with _asking("read the bucket"):
            try:
                _api().download_bucket_files(self.id, list(files.items()), raise_on_missing_files=True)
            except EntryNotFoundError:  # a checkpoint that was tidied away there meanwhile
                raise Refused(f"{', '.join(files)} is no longer in the bucket {self.id}") from None


def _token():
    from ..hub.account import find_token

    return token() or find_token()[0]


def _api():
    """The Hub's client with the account's token, and with time-outs."""
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars

    from ..hub import client

    secret = _token()
    if not secret:
        raise Refused("nobody is signed in to Hugging Face: sign in on the Publish tab, with a token that may run jobs")
    disable_progress_bars()
    if not isinstance(huggingface_hub.get_session(), client.Client):  # not again: that would close connections which others use at this moment
        huggingface_hub.set_client_factory(client.Client)
    return huggingface_hub.HfApi(endpoint=client.checked_endpoint(), token=secret.reveal())


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Whatever the Hub or the way to it does wrong inside becomes Unreachable or Refused."""
    from ..hub.secrets import mask

    try:
        yield
    except (Unreachable, Refused):
        raise
    except (ConnectionError, TimeoutError, RuntimeError) as error:  # how hf_xet, which carries the contents, says it
        raise Unreachable(f"Hugging Face cannot be reached ({mask(str(error), _token())[:200]})") from None
    except Exception as error:  # noqa: BLE001 what is none of the Hub's, fault_of raises again
        raise _told(error, what) from None


def _told(error: Exception, what: str) -> Unreachable | Refused:
    from ..hub.account import tokens_page
    from ..hub.client import fault_of

    fault = fault_of(error)
    said = f" The Hub says: {sentences(fault.text)}" if fault.text else ""
    if fault.status == -1:
        return Refused("offline mode is on (HF_HUB_OFFLINE), and Hugging Face Jobs is on the internet")
    if fault.status == 401:
        return Refused(f"Hugging Face does not accept the token (401): make a new one at {tokens_page()}, sign in again and press Resume")
    if fault.status == 402:
        return Refused(f"Hugging Face asks for credit before it may {what} (402): add some at {tokens_page().removesuffix('tokens')}billing, then press Resume.{said}")
    if fault.status == 403:
        return Refused(f"the token may not {what} at Hugging Face (403): make one that may write and run jobs at {tokens_page()}.{said}")
    if fault.passing or fault.status == 0 or fault.status >= 500:
        return Unreachable(f"Hugging Face cannot be reached, or has a problem of its own ({fault})")
    return Refused(f"Hugging Face refused to {what} ({fault.status}).{said}")


def _bytes(text: str) -> int:
    """"24 GB" -> 24e9.  Raises Refused for what is no size."""
    found = _SIZE.search(text)
    if not found:
        raise Refused(f"Hugging Face describes its hardware in a way that Easel does not know: {text!r}")
    return int(float(found[1]) * _BYTES[found[2].upper()])
