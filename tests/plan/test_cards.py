"""Several cards: the largest first, any of them by choice; what the driver itself complains of; AMD's and Intel's cards as the kernel shows them."""

import os
import stat

import pytest

from training.plan import cards, hardware
from training.plan.cards import Gpu

TWO = (
    "0, GPU-5060aaaa, NVIDIA GeForce RTX 5060, 580.95.05, 8151, 7900, 12.0\n"
    "1, GPU-4090bbbb, NVIDIA GeForce RTX 4090, 580.95.05, 24564, 24000, 8.9\n"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95"
LOST = "Unable to determine the device handle for GPU0000:0B:00.0: GPU is lost.  Reboot the system to recover this GPU"
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A stand-in for nvidia-smi that prints a text and ends with a code; nothing of the environment limits the cards."""
    for name in ("CUDA_VISIBLE_DEVICES", "EASEL_GPU", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(hardware, "installed_torch", lambda: "cu130")
    hardware._cached.clear()

    def put(text, code=0, wait_s=0):
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{f'exec sleep {wait_s}' if wait_s else ''}\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        hardware._cached.clear()

    yield put
    hardware._cached.clear()


@posix
def test_the_largest_card_comes_first_and_any_can_be_chosen(smi, tmp_path):
    smi(TWO)
    seen = hardware.machine(tmp_path)
    assert (seen.gpu_name, seen.gpu, seen.device) == ("NVIDIA GeForce RTX 4090", "GPU-4090bbbb", "cuda")
    assert [g.uuid for g in seen.cards] == ["GPU-4090bbbb", "GPU-5060aaaa"]
    other = seen.on("GPU-5060aaaa")
    assert other.gpu_name.endswith("5060") and other.vram_bytes == 8151 * 2**20 and other.compute == (12, 0) and other.ram_bytes == seen.ram_bytes
    assert seen.on("GPU-of-another-computer") == seen


@posix
@pytest.mark.parametrize("order", ["PCI_BUS_ID", "FASTEST_FIRST"])
def test_the_order_that_cuda_has_changes_nothing(smi, tmp_path, monkeypatch, order):
    smi(TWO)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    assert hardware.machine(tmp_path).gpu == "GPU-4090bbbb"


@posix
def test_what_the_environment_leaves(smi, tmp_path, monkeypatch):
    smi(TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert [g.uuid for g in hardware.machine(tmp_path).cards] == ["GPU-5060aaaa"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("EASEL_GPU", "GPU-5060")
    hardware._cached.clear()
    assert [g.uuid for g in hardware.machine(tmp_path).cards] == ["GPU-5060aaaa"]


@posix
@pytest.mark.parametrize(("text", "code", "said"), [(MISMATCH, 18, "restart the computer"), (LOST, 15, "stopped answering")])
def test_the_drivers_own_error_is_told(smi, tmp_path, text, code, said):
    smi(text, code)
    seen = hardware.machine(tmp_path)
    assert seen.device != "cuda" and said in seen.note and text.split(".")[0].split("\n")[0] in seen.note


@posix
def test_a_driver_that_does_not_answer_is_told_and_not_asked_at_every_tick(smi, tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "SMI_WAIT_S", 0.3)
    smi(TWO, wait_s=20)
    assert "does not answer" in hardware.machine(tmp_path).note
    smi_again = hardware._cached[str(tmp_path)][0]
    import time

    assert smi_again - time.monotonic() > 10


@posix
def test_no_card_is_no_trouble(smi, tmp_path):
    smi("No devices were found", 6)
    assert hardware.machine(tmp_path).note == ""


@posix
def test_the_doctor_tells_the_drivers_error_and_all_cards(smi, home):
    from training import doctor

    smi(MISMATCH, 18)
    rows = {c.name: c for c in doctor._machine(home)}
    assert rows["GPU"].state == "note" and "version mismatch" in rows["GPU"].text
    smi(TWO)
    told = [c.text for c in doctor._machine(home) if c.name == "GPU"]
    assert len(told) == 2 and "4090" in told[0] and "5060" in told[1]


def test_a_card_by_number_uuid_or_name():
    two = cards.parse_smi(TWO)
    assert [cards.named(text, two).index for text in ("1", "GPU-4090", "4090", "rtx 5060", "GPU-5060aaaa")] == [1, 1, 1, 0, 0]
    with pytest.raises(ValueError, match="several cards.*0: NVIDIA GeForce RTX 5060"):
        cards.named("RTX", two)
    with pytest.raises(ValueError, match="names no card here"):
        cards.named("7", two)
    alike = [Gpu(n, f"GPU-{n}", "NVIDIA A100", "580", 2**30 * 80, 0) for n in (0, 1)]
    assert list(cards.labels(alike).values()) == ["NVIDIA A100, 80 GB (number 0)", "NVIDIA A100, 80 GB (number 1)"]


def kernel(root, device="renderD128", arch="110000", vram=24 * 2**30):
    """What a kernel shows of a processor (no SIMDs) and one AMD card."""
    for number, text in (("0", "simd_count 0\ngfx_target_version 0\n"), ("1", f"simd_count 192\ngfx_target_version {arch}\ndrm_render_minor 128\nunique_id 4660\n")):
        node = root / "class/kfd/kfd/topology/nodes" / number
        node.mkdir(parents=True)
        (node / "properties").write_text(text)
    memory = root / "class/drm" / device / "device"
    memory.mkdir(parents=True)
    (memory / "mem_info_vram_total").write_text(f"{vram}\n")
    (memory / "mem_info_vram_used").write_text(f"{2**30}\n")
    (root / "kfd").write_text("")
    return root


def test_an_amd_card_as_the_kernel_shows_it(tmp_path):
    found, barred = cards.amd_cards(kernel(tmp_path), tmp_path / "kfd")
    assert found == [Gpu(0, "GPU-0000000000001234", "AMD Radeon (gfx1100)", "amdgpu", 24 * 2**30, 23 * 2**30, (0, 0), "amd", "gfx1100")] and not barred
    found, barred = cards.amd_cards(tmp_path, tmp_path / "not there")
    assert "groups render and video" in barred and found[0].barred == barred
    assert hardware.usable_cards(cards.Found(tuple(found)), "rocm7.2") == []


def test_an_intel_card_as_the_kernel_shows_it_and_built_in_graphics_do_not_count(tmp_path):
    for card, device in (("card0", "0x9a49"), ("card1", "0xe20b")):
        folder = tmp_path / "class/drm" / card / "device"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text("0x8086\n")
        (folder / "device").write_text(f"{device}\n")
    (found,) = cards.intel_cards(tmp_path)
    assert (found.name, found.vram_bytes, found.vendor) == ("Intel Arc B580", 12 * 2**30, "intel")


@pytest.mark.parametrize(("vendor", "installed", "device"), [("amd", "rocm7.1", "cuda"), ("intel", "xpu", "xpu"), ("amd", "cu130", "cpu"), ("intel", "cpu", "cpu")])
def test_a_card_counts_with_the_torch_that_is_made_for_it(tmp_path, monkeypatch, vendor, installed, device):
    card = Gpu(0, "", "A card", "", 12 * 2**30, 12 * 2**30, vendor=vendor, arch="gfx1100" if vendor == "amd" else "")
    monkeypatch.setattr(cards, "find", lambda: cards.Found((card,)))
    monkeypatch.setattr(hardware, "installed_torch", lambda: installed)
    monkeypatch.setattr("sys.platform", "linux")
    hardware._cached.clear()
    seen = hardware.machine(tmp_path)
    hardware._cached.clear()
    assert seen.device == device and seen.gpu_name == "A card"
    assert (installed in seen.note) == (device == "cpu")
