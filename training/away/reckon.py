"""How long a run takes on another machine, what that costs, and how long it may run there.  No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType

from pydantic import BaseModel

from ..config import TrainConfig
from ..data import parts
from ..home import Home
from ..plan import hardware, sharing
from ..plan.cards import Gpu
from ..plan.devices import CARDS
from ..plan.estimate import Estimate, estimate
from .place import Machine, Refused, Unreachable

SETTING_UP_S = 900.0  # an image that is pulled, packages that are installed, a base model that is fetched
SPARE = 2.0  # a limit must not end a run that is only slower than was reckoned
UNKNOWN_LIMIT_S = 12 * 3600.0  # of a run of which nothing can be reckoned
PLENTY = 2**60
OLDER = {"T4": (7, 5), "V100": (7, 0), "P100": (6, 0), "RTX 20": (7, 5)}  # cards without bf16 that are let; NVIDIA's table of compute capabilities
CORES = 8


@dataclass(frozen=True)
class Price:
    """What a run costs on a machine.  low, high: in its currency; None where no price is known."""

    low: float | None
    high: float | None
    currency: str

    @property
    def said(self) -> str:
        """"0.40–0.90 USD", or "" where no price is known."""
        if self.low is None or self.high is None:
            return ""
        low, high = f"{self.low:.2f}", f"{self.high:.2f}"
        return f"{low if low == high else f'{low}–{high}'} {self.currency}".strip()


def seen_as(machine: Machine, here: hardware.Machine) -> hardware.Machine:
    """The other machine as presets and the estimate know machines.  Its disk, and how many cores it has, is not known: enough."""
    compute = next((c for name, c in OLDER.items() if name in machine.title), (8, 0)) if machine.vram_bytes else (0, 0)
    ram = machine.ram_bytes or PLENTY
    cards = tuple(Gpu(n, "", machine.title, "", vram, vram, compute) for n, vram in enumerate(machine.cards))
    return hardware.Machine(
        gpu_name=machine.title if machine.vram_bytes else "", vram_bytes=machine.vram_bytes, vram_free_bytes=machine.vram_bytes, ram_bytes=ram, ram_free_bytes=ram,
        disk_free_bytes=PLENTY, cpu_name=machine.title, cores=here.cores if not machine.vram_bytes else CORES, cuda_ok=machine.vram_bytes > 0, driver="", compute=compute,
        mps_ok=False, note="", vendor="nvidia" if machine.vram_bytes else "", cards=cards,
    )  # fmt: skip


def guess(config: TrainConfig, machine: Machine, home: Home) -> Estimate:
    """What a job that names its place takes on that machine, with as many of its cards as `gpus` says.  Raises ValueError, OSError."""
    pictures = sum(parts.taken(home, use).count() for use in config.data.datasets if not use.prior)
    count = _count(config, machine)
    if count > 1 and machine.cards:  # each of them must hold the whole model
        machine = replace(machine, vram_bytes=machine.cards[count - 1])
    return estimate(config.model_copy(update={"gpus": count}), seen_as(machine, hardware.machine(home.root)), pictures, home)


def _count(config: TrainConfig, machine: Machine) -> int:
    """How many processes train there.  Raises ValueError where it has fewer cards; where nobody says how many, there are enough."""
    return sharing.processes(config.gpus, config.device, len(machine.cards)) if machine.cards else max(config.gpus, 1)


def price(machine: Machine, guess: Estimate) -> Price:
    """An hour's price times how long it most likely takes, with the setting up."""
    if machine.price_per_hour is None:
        return Price(None, None, machine.currency)
    low, high = ((seconds + SETTING_UP_S * share) / 3600 * machine.price_per_hour for seconds, share in zip(guess.seconds_range, (0.3, 1.0), strict=True))
    return Price(low, high, machine.currency)


def chosen(place: ModuleType, options: BaseModel) -> Machine | None:
    """The machine that the options name, or the only one; None where it is not known.  Raises Unreachable, Refused."""
    found = place.machines(options)
    named = str(getattr(options, "machine", ""))
    return next((m for m in found if m.name == named), found[0] if len(found) == 1 else None)


def wrong_device(config: TrainConfig, machine: Machine) -> str:
    """Why a job cannot be done on that machine as it is written, in a sentence; "" where it can.  A job for a processor would leave a rented card idle."""
    if machine.vram_bytes and config.device != "cuda":
        return f"device is {config.device!r}, but {machine.title} has a card: on it, it would train on the processor; set device to 'cuda'"
    if not machine.vram_bytes and config.device == "cuda":
        return f"device is 'cuda', but {machine.title} has no card; set device to 'cpu', or choose another machine"
    return ""


def wrong_cards(config: TrainConfig, machine: Machine) -> str:
    """Why its cards cannot train it together, in a sentence; "" where they can, or where nobody says how many there are."""
    if not machine.cards or config.device not in CARDS:
        return ""
    there = len(machine.cards)
    if config.gpus > there:
        return f"gpus is {config.gpus}, but {machine.title} has {'1 card' if there == 1 else f'{there} cards'}; set gpus to {there}, or 0 for all, or choose another machine"
    return next((f"{path} {text}" for path, text in sharing.problems(config, _count(config, machine))), "")


def unfit(config: TrainConfig, machine: Machine) -> str:
    """wrong_device(), or wrong_cards()."""
    return wrong_device(config, machine) or wrong_cards(config, machine)


def idle_cards(config: TrainConfig, machine: Machine) -> int:
    """How many of its cards the run leaves alone."""
    return max(0, len(machine.cards) - (config.gpus or len(machine.cards))) if config.device in CARDS else 0


def idle_said(config: TrainConfig, machine: Machine | None) -> str:
    """A sentence where cards are paid for that do nothing; "" for any other."""
    if machine is None or not machine.price_per_hour or not (idle := idle_cards(config, machine)):
        return ""
    return f"{machine.title} has {len(machine.cards)} cards, of which {idle} will be idle and are paid for all the same, as gpus is {config.gpus}; 0 takes all"


def checked(config: TrainConfig, place: ModuleType, options: BaseModel) -> Machine | None:
    """The machine, where it is known.  Raises Refused where the job is written for another kind, or for more cards; Unreachable."""
    machine = chosen(place, options)
    if machine and (wrong := unfit(config, machine)):
        raise Refused(wrong)
    return machine


def limit_s(config: TrainConfig, place: ModuleType, options: BaseModel, home: Home) -> int:
    """Seconds after which the run is stopped there: as was said, else generously more than it most likely takes."""
    said = float(getattr(options, "limit_hours", 0.0))
    if said:
        return int(said * 3600)
    try:
        machine = chosen(place, options)
        if machine is None:
            return int(UNKNOWN_LIMIT_S)
        seconds = guess(config, machine, home).seconds_range[1]
    except (Unreachable, Refused, ValueError, OSError):
        return int(UNKNOWN_LIMIT_S)
    return int(seconds * SPARE + 2 * SETTING_UP_S)

