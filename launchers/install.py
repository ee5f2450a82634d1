"""Makes Easel's environment right, then starts Easel.  Standard library only: start.sh, start.bat and test.sh hand over to this.

    python launchers/install.py start [--repair] [flags of app.py]
    python launchers/install.py ensure [--dev] [--repair]
    python launchers/install.py python                     prints where the environment's Python is

The environment is .venv in this folder, or where EASEL_VENV says.  EASEL_TORCH (cpu, cu126, rocm7.2, xpu, …) overrides the choice of
the torch build, EASEL_TORCH_INDEX the place it comes from.  What is installed, with its hashes, is in launchers/locks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
if __package__ in (None, ""):
    sys.path.insert(0, str(REPO))

from launchers import packages, places
from launchers.pip_run import Failed, environment, pip, uv, uv_reaches

TORCH_INDEX = "https://download.pytorch.org/whl"
LOCKS = REPO / "launchers" / "locks"
PLAIN_BUILD = "cu130"  # what a torch of the plain package index is on Linux; its lock says what it brings along
ROOM_BYTES = {"cpu": 4_000_000_000, "cuda": 12_000_000_000, "rocm": 30_000_000_000}  # the environment and pip's temporary copies, generously
HASHED = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]  # the lock, all of it, and nothing else
WAIT_S = 3600  # for another launcher; an installation over a slow line takes that long
EARLY_S = 30  # an app that ends with an error this soon may be a damaged environment


def main(args: list[str]) -> int:
    """The exit status.  Failures are one sentence on the screen, and the log's place."""
    action, rest = (args[0], args[1:]) if args else ("start", [])
    repair, rest = "--repair" in rest, [arg for arg in rest if arg != "--repair"]
    try:
        if action == "ensure":
            ensure(dev="--dev" in rest, repair=repair)
            return 0
        if action == "python":
            print(python_of(venv_folder()))
            return 0
        if action == "start":
            return start(rest, repair)
        print(__doc__)
        return 2
    except Failed as error:
        say(f"\n{error}\nThe whole story is in {LOG.path}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Start again to go on from here.")
        return 130


class Log:
    """A text file of what the launcher did.  In .easel of this folder; beside the environment where that is read-only.

    In the environment itself where Easel lies among its packages.
    """

    def __init__(self):
        for folder in (venv_folder(),) if REPO.name == "_app" else (REPO / ".easel", venv_folder().parent):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self.path = folder / "launcher.log"
                if self.path.is_file() and self.path.stat().st_size > 2_000_000:
                    self.path.replace(folder / "launcher.old.log")
                self.path.open("a").close()
                return
            except OSError:
                continue
        raise Failed(f"Neither {REPO} nor {venv_folder().parent} may be written. Move Easel to a folder of your own.")

    def __call__(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text.strip()}\n")


def say(text: str) -> None:
    """One plain line, on the screen and in the log."""
    print(text, flush=True)
    LOG(text)


# ---- what is there, what is wanted


def venv_folder() -> Path:
    """Where the environment lives: absolute, links not resolved."""
    return Path(os.path.abspath(Path(os.environ.get("EASEL_VENV") or REPO / ".venv").expanduser()))


def python_of(venv: Path) -> Path:
    """The environment's Python."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def python_version(venv: Path) -> str:
    """'3.12', as the environment's Python says itself; '' if it does not run, or is no longer the one the packages are for."""
    say_it = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python_of(venv)), "-I", "-S", "-c", say_it], capture_output=True, text=True, check=False, timeout=60)
        lines = (venv / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return ""
    version = answer.stdout.strip()
    values = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    noted = values.get("version", values.get("version_info", ""))
    return version if version and noted.startswith(version + ".") else ""


def site_of(venv: Path) -> Path:
    """The environment's site-packages."""
    if os.name == "nt":
        return venv / "Lib" / "site-packages"
    return next((venv / "lib").glob("python3.*/site-packages"), venv / "lib" / "site-packages")


def wanted_torch() -> tuple[str, str]:
    """(the torch build for this machine's hardware: 'cpu', 'cu126', …; the reason in a sentence)."""
    if os.environ.get("EASEL_TORCH"):
        return os.environ["EASEL_TORCH"], "EASEL_TORCH asks for this torch"
    answer = subprocess.run(
        [sys.executable, "-m", "training.plan.hardware", "torch-build"],
        cwd=REPO, env=environment(), capture_output=True, text=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    build, why = answer.stdout.strip(), answer.stderr.strip()
    if answer.returncode or not build:
        LOG(f"training.plan.hardware gave no torch build: {why}")
        return (
            "cpu",
            "the graphics card could not be asked about, so torch is installed for the processor; set EASEL_TORCH=cu126 to choose yourself",
        )
    return build, why


def torch_fits(have: str, want: str) -> bool:
    """Whether the torch that is there will do.  A CUDA build runs on a CPU too, so a card that vanished reinstalls nothing."""
    return have == want or (want == "cpu" and have != "")


def locks(dev: bool) -> list[Path]:
    """The lock files of what is installed besides torch."""
    return [LOCKS / "app.txt", *([LOCKS / "dev.txt"] if dev else [])]


def stamp_for(venv: Path, want: str, dev: bool) -> dict:
    """What must be as it was for a start without any installation."""
    return {
        "requirements": packages.fingerprint(LOCKS / "app.txt"),
        "dev": packages.fingerprint(LOCKS / "dev.txt") if dev else "",
        "torch": want,
        "python": python_version(venv),
        "venv": str(venv),
    }


def is_ready(venv: Path, want: str, dev: bool) -> bool:
    """Whether nothing needs doing.  A few dozen file look-ups: no import, no pip, no network."""
    try:
        stamp = json.loads((venv / "easel.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    expected = stamp_for(venv, want, dev)
    if not dev:
        stamp["dev"] = ""
    if not torch_fits(stamp.get("torch", ""), want):
        return False
    there = stamp.pop("packages", {})  # what was installed: which of the locks' packages this system needs, pip had decided
    if {**stamp, "torch": ""} != {**expected, "torch": ""}:
        return False
    return not packages.missing(site_of(venv), there | pins(dev))


def pins(dev: bool) -> dict[str, str]:
    """{name: version} of what Easel itself asks for."""
    return packages.pins(REPO / ("requirements-dev.txt" if dev else "requirements.txt"))


# ---- making it right


def ensure(dev: bool, repair: bool = False) -> Path:
    """The environment's Python, everything installed.  Raises Failed with a sentence."""
    venv, (want, why) = venv_folder(), wanted_torch()
    if not repair and is_ready(venv, want, dev):
        return python_of(venv)
    with lock() as lock_fd:
        if repair or not is_ready(venv, want, dev):  # another launcher may have done it meanwhile
            say(why[:1].upper() + why[1:])
            install(venv, want, dev, lock_fd)
    return python_of(venv)


def install(venv: Path, want: str, dev: bool, lock_fd: int) -> None:
    """Brings the environment to what is wanted, whatever state it is in, and stamps it when it is."""
    began = time.monotonic()
    refusal = places.refusal(site_of(venv))
    if refusal:
        raise Failed(refusal)
    stale = packages.unlocked(pins(dev), [*locks(dev), LOCKS / f"{PLAIN_BUILD}.txt"])
    if stale:
        raise Failed(f"launchers/locks is older than the requirements, which ask for {', '.join(stale)}. Run: python launchers/lock.py")
    say(f"Setting up Easel in {venv} with Python {sys.version.split()[0]}. This happens once, and may be interrupted.")
    (venv / "easel.json").unlink(missing_ok=True)
    make_venv(venv)
    python, site = python_of(venv), site_of(venv)
    if "torch" not in packages.installed(site):
        check_room(venv, want)
    for path in packages.leftovers(site):
        say(f"Clearing away {path.name}, left by an interrupted installation")
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    renew_pip(python, site, lock_fd)

    install_torch(python, site, want, pins(dev)["torch"], lock_fd)
    say("Installing the other packages")
    install_locked(python, locks(dev), lock_fd)
    install_torch_parts(python, site, lock_fd)
    mend(python, site, want, dev, lock_fd)

    absent = packages.missing(site, pins(dev))
    if absent:
        raise Failed(f"After the installation these packages are still missing: {', '.join(absent)}. Delete {venv} and start again.")
    there = packages.locked(locks(dev)) & packages.installed(site).keys()
    stamp = stamp_for(venv, want, dev) | {"packages": {name: packages.installed(site)[name].version for name in sorted(there)}}
    temporary = venv / "easel.json.tmp"
    temporary.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    temporary.replace(venv / "easel.json")
    say(f"Ready after {time.monotonic() - began:.0f} s")


def make_venv(venv: Path) -> None:
    """A virtual environment whose Python runs and is one that the packages are built for; another is replaced.  Raises Failed."""
    if not places.fits(python_version(venv)):
        build_venv(venv)
    if not runs(venv, "import pip") and not (runs(venv, "import ensurepip; ensurepip.bootstrap()") and runs(venv, "import pip")):
        raise Failed(f"pip is missing in {venv}. Delete that folder and start again.")


def build_venv(venv: Path) -> None:
    """A new virtual environment in place of whatever of ours is there.  Raises Failed."""
    ways = places.ways_to_make(venv, python_of(venv), f"pip=={packages.pins(LOCKS / 'tools.in')['pip']}")
    if not ways:
        raise Failed(f"This Python cannot make virtual environments. {places.venv_advice()}")
    if venv.exists():
        clear_away(venv)
    for number, way in enumerate(ways):
        venv.mkdir(parents=True, exist_ok=True)
        (venv / "easel.making").touch()  # so that a half-made one is known as ours
        trouble = make_by(way)
        if not trouble and python_version(venv):
            (venv / "easel.making").unlink(missing_ok=True)
            return
        LOG(f"the environment, way {number + 1} of {len(ways)}: {trouble}")
        clear_away(venv)
    raise Failed(f"The virtual environment could not be made in {venv}. {trouble or 'Its Python does not run.'}")


def clear_away(venv: Path) -> None:
    """Removes an environment of ours.  Raises Failed for any other folder."""
    ours = (venv / "pyvenv.cfg").is_file() or (venv / "easel.making").is_file() or not any(venv.iterdir())
    if not ours:
        raise Failed(f"{venv} is not a virtual environment, so Easel leaves it alone. Point EASEL_VENV to another folder.")
    if any(venv.iterdir()) and not (venv / "easel.making").is_file():
        version = python_version(venv)
        say(f"The virtual environment is for Python {version}; making a new one" if version else "The virtual environment does not run; making a new one")
    broken = venv.with_name(f"{venv.name}-broken-{os.getpid()}")
    venv.rename(broken)
    shutil.rmtree(broken, ignore_errors=True)


def make_by(way: list[list[str]]) -> str:
    """What went wrong when these commands were run one after the other; '' where nothing did."""
    for command in way:
        try:
            made = subprocess.run(command, env=environment(), capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
        except OSError as error:
            return f"{command[0]}: {error}"
        LOG(f"+ {' '.join(command)}\n{made.stdout}{made.stderr}")
        if made.returncode:
            return (made.stderr or made.stdout).strip() or f"{command[0]} ended with {made.returncode}"
    return ""


def runs(venv: Path, code: str) -> bool:
    """Whether the environment's Python gets through `code`."""
    return subprocess.run([str(python_of(venv)), "-I", "-c", code], capture_output=True, check=False).returncode == 0


def check_room(venv: Path, want: str) -> None:
    """Raises Failed where the disk cannot hold the environment."""
    need, free = ROOM_BYTES["cpu" if want == "cpu" else "rocm" if want.startswith("rocm") else "cuda"], shutil.disk_usage(venv).free
    if free < need:
        raise Failed(
            f"{venv.parent} has {free / 1e9:.1f} GB free, but the installation needs {need / 1e9:.0f} GB. Free some, or move EASEL_VENV."
        )


def renew_pip(python: Path, site: Path, lock_fd: int) -> None:
    """A pip that continues broken downloads, and uv.  Without them the old pip does, so a failure here is only noted."""
    tools = packages.pins(LOCKS / "tools.in")
    wanted = ["pip", "uv"] if uv_reaches(python) else ["pip"]
    for name in packages.missing(site, {name: tools[name] for name in wanted}):
        try:
            pip(python, ["install", "--retries", "1", *HASHED, "-r", str(only(python, LOCKS / "tools.txt", {name}))], LOG, lock_fd)
        except Failed as error:
            LOG(f"did not get {name}=={tools[name]}: {error}")


def only(python: Path, lock: Path, names: set[str]) -> Path:
    """A requirements file, beside the environment's other notes, with the lock's entries of these packages."""
    path = python.parent.parent / "easel-some.txt"
    path.write_text(packages.entries(lock, names), encoding="utf-8")
    return path


def install_locked(python: Path, files: list[Path], lock_fd: int) -> None:
    """All packages of these locks, by uv where it is and reaches them, else by pip.  Raises Failed."""
    arguments = ["install", *HASHED, *(word for file in files for word in ("-r", str(file)))]
    if uv_reaches(python) and uv(python, arguments, LOG, lock_fd):
        return
    pip(python, arguments, LOG, lock_fd)


def install_torch(python: Path, site: Path, want: str, version: str, lock_fd: int) -> None:
    """torch==version in the wanted build, without its dependencies (the locks bring those).  Raises Failed.

    First a wheel that this machine's pip has been given (find-links), then PyTorch's own index.  The plain package index comes last, with
    the lock's hashes, and only where its build will do: on Linux that one is for CUDA 13.0, which runs without a card too but is a
    download of several GB; elsewhere it is the processor's.
    """
    if "torch" not in packages.missing(site, {"torch": version}) and torch_fits(packages.torch_build(site), want):
        return
    index = f"{os.environ.get('EASEL_TORCH_INDEX') or TORCH_INDEX}/{want}"
    say(f"Installing torch {version} for {'the processor' if want == 'cpu' else want}")
    exact = f"torch=={version}+{want}"
    plain = ["--require-hashes", "-r", str(only(python, LOCKS / f"{PLAIN_BUILD}.txt", {"torch"}))]
    note = Path(plain[-1])  # "===" takes no torch with a local version, such as a +cpu one that this machine's pip was given
    note.write_text(note.read_text(encoding="utf-8").replace("==", "===", 1), encoding="utf-8")
    tries = [["--no-index", exact], ["--index-url", index, "--retries", "1", "--timeout", "20", exact]]
    if sys.platform == "darwin":
        tries = [plain]
    elif want == "cpu" or (want == PLAIN_BUILD and sys.platform == "linux"):
        tries.append(plain)
    for number, arguments in enumerate(tries):
        if arguments is plain and sys.platform != "darwin":
            larger = ", a larger download" if want == "cpu" and sys.platform == "linux" else ""
            say(f"PyTorch's own index cannot be reached; taking torch from the package index{larger}")
        try:
            pip(python, ["install", "--no-deps", "--force-reinstall", *arguments], LOG, lock_fd)
        except Failed as error:
            LOG(f"torch, try {number + 1} of {len(tries)}: {error}")
            trouble = str(error)
            continue
        have = packages.torch_build(site)
        if torch_fits(have, want):
            return
        trouble = f"What came is torch for {have or 'nothing known'}."
        LOG(f"torch, try {number + 1} of {len(tries)}: {trouble}")
    raise Failed(
        f"torch {version} for {want} could not be installed from {index}. {trouble} "
        "Behind a mirror, name it in EASEL_TORCH_INDEX; EASEL_TORCH=cpu does without the graphics card."
    )


def install_torch_parts(python: Path, site: Path, lock_fd: int) -> None:
    """What the installed build of torch brings along besides the locked packages: libraries of CUDA, ROCm or oneAPI, and its own triton.

    torch names them with exact versions.  Those of CUDA 13.0 are locked with hashes; all others are to be had from torch's index, and
    some of them (triton-rocm, triton-xpu) from no other.  Raises Failed.
    """
    build, version = packages.torch_build(site), packages.installed(site)["torch"].version
    if build == "cpu" or sys.platform == "darwin":
        return
    say(f"Installing what torch needs for {build}")
    tries = [["--index-url", f"{os.environ.get('EASEL_TORCH_INDEX') or TORCH_INDEX}/{build}", "--retries", "1", f"torch=={version}"]]
    if build == PLAIN_BUILD and sys.platform == "linux":
        lock_file = LOCKS / f"{PLAIN_BUILD}.txt"
        tries.insert(0, [*HASHED, "-r", str(only(python, lock_file, packages.locked([lock_file]) - {"torch"}))])
    if build.startswith("cu"):
        tries.append([f"torch=={version}"])  # NVIDIA's libraries are in the plain index too
    for number, arguments in enumerate(tries):
        try:
            pip(python, ["install", *arguments], LOG, lock_fd)
            return
        except Failed as error:
            LOG(f"torch's own packages, try {number + 1} of {len(tries)}: {error}")
            trouble = error
    raise Failed(f"What torch needs for {build} could not be installed. {trouble}")


def mend(python: Path, site: Path, want: str, dev: bool, lock_fd: int) -> None:
    """Reinstalls the packages that lost files, for example to a power cut.  Raises Failed."""
    for package in packages.damaged(site):
        say(f"{package.name} is damaged; installing it anew")
        entry = "".join(packages.entries(lock_file, {package.name}) for lock_file in locks(dev))
        if package.name == "torch":
            shutil.rmtree(package.info)
            install_torch(python, site, want, pins(dev)["torch"], lock_fd)
        elif entry:
            path = python.parent.parent / "easel-some.txt"
            path.write_text(entry, encoding="utf-8")
            pip(python, ["install", "--force-reinstall", *HASHED, "-r", str(path)], LOG, lock_fd)
        elif package.name.startswith(("nvidia-", "cuda-", "triton", "pytorch-triton", "intel-", "rocm")):
            shutil.rmtree(package.info)
            install_torch_parts(python, site, lock_fd)
        else:
            pip(python, ["install", "--force-reinstall", "--no-deps", f"{package.name}=={package.version}"], LOG, lock_fd)


@contextmanager
def lock():
    """One launcher at a time; a second one waits.  Gives the lock's file descriptor.  The system frees it when its holders end."""
    path = LOG.path.with_name("launcher.lock")
    with path.open("a+") as file:
        deadline, told = time.monotonic() + WAIT_S, False
        while not _try_lock(file):
            if not told:
                say(f"Another launcher is installing Easel; waiting for it (see {LOG.path})")
                told = True
            if time.monotonic() > deadline:
                raise Failed("Another launcher has been installing for an hour. End it, then start again.")
            time.sleep(0.5)
        yield file.fileno()


def _try_lock(file) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike lockf, pip inherits it
        return True
    except OSError:
        return False


# ---- starting


def start(flags: list[str], repair: bool) -> int:
    """app.py's exit status.  One that fails at once for a damaged environment is repaired and started a second time."""
    ensure(dev=False, repair=repair)
    status, lived_s = run_app(flags)
    if status not in (0, 2, 130) and status > 0 and lived_s < EARLY_S and packages.damaged(site_of(venv_folder())):
        say("Easel did not start because its environment is damaged; repairing it")
        ensure(dev=False, repair=True)
        status, _ = run_app(flags)
    if status not in (0, 130):
        LOG(f"app.py ended with status {status}")
    return status


def run_app(flags: list[str]) -> tuple[int, float]:
    """(exit status, seconds it lived) of app.py, in the folder the person called from; Ctrl-C and SIGTERM reach it."""
    began = time.monotonic()
    LOG("starting app.py")
    process = subprocess.Popen([str(python_of(venv_folder())), str(REPO / "app.py"), *flags], env=_app_environment())
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: process.terminate())
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal sends it to app.py as well, which decides
    status = process.wait()
    return (128 - status if status < 0 else status), time.monotonic() - began


def _app_environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    return kept | {"PYTHONUTF8": "1"}


if __name__ == "__main__":
    try:
        LOG = Log()
    except Failed as error:
        sys.exit(str(error))
    sys.exit(main(sys.argv[1:]))
