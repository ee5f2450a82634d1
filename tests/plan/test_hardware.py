"""The right torch for a machine, and what a machine has, from recorded nvidia-smi outputs and real system files."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from training.plan import cards, hardware

REPO = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")

# nvidia-smi --query-gpu=index,uuid,name,driver_version,memory.total,memory.free,compute_cap --format=csv,noheader,nounits
RECORDED = {
    "H200": "0, GPU-5a1f2c3d-0001, NVIDIA H200, 580.95.05, 143771, 143156, 9.0\n",
    "RTX 4090": "0, GPU-5a1f2c3d-0002, NVIDIA GeForce RTX 4090, 550.120, 24564, 23987, 8.9\n",
    "RTX 3060 on a new driver": "0, GPU-5a1f2c3d-0003, NVIDIA GeForce RTX 3060, 581.42, 12288, 11012, 8.6\n",
    "RTX 5090": "0, GPU-5a1f2c3d-0004, NVIDIA GeForce RTX 5090, 580.88, 32607, 31500, 12.0\n",
    "RTX 5090 on an old driver": "0, GPU-5a1f2c3d-0005, NVIDIA GeForce RTX 5090, 572.16, 32607, 31500, 12.0\n",
    "GTX 1080": "0, GPU-5a1f2c3d-0006, NVIDIA GeForce GTX 1080, 580.95.05, 8192, 7900, 6.1\n",
    "V100": "0, GPU-5a1f2c3d-0007, Tesla V100-SXM2-16GB, 535.183.01, 16384, 16150, 7.0\n",
    "T4 on an old driver": "0, GPU-5a1f2c3d-0008, Tesla T4, 470.256.02, 15109, 15106, 7.5\n",
    "K80": "0, GPU-5a1f2c3d-0009, Tesla K80, 470.256.02, 11441, 11438, 3.7\n",
    "GB10, unified memory": "0, GPU-5a1f2c3d-0010, NVIDIA GB10, 580.126.09, [N/A], [N/A], 12.1\n",
    "no device": "No devices were found\n",
}
TABLE = {
    "H200": "cu130", "RTX 4090": "cu126", "RTX 3060 on a new driver": "cu130", "RTX 5090": "cu130", "RTX 5090 on an old driver": "cu129" if sys.platform == "linux" else "cpu",
    "GTX 1080": "cu126", "V100": "cu126", "T4 on an old driver": "cpu", "K80": "cpu", "GB10, unified memory": "cu130", "no device": "cpu",
}  # fmt: skip


def gpu(text):
    return hardware.choose_gpu(hardware.parse_smi(text), None)


@pytest.mark.parametrize("machine", RECORDED)
def test_the_table(machine):
    build, why = hardware.torch_build(gpu(RECORDED[machine]))
    assert build == TABLE[machine]
    assert why


def test_the_reason_says_what_to_do():
    older = RECORDED["RTX 5090 on an old driver"].replace("572.16", "560.94")
    assert f"driver {570 if sys.platform == 'linux' else 580} or newer" in hardware.torch_build(gpu(older))[1]
    assert "driver 525 or newer" in hardware.torch_build(gpu(RECORDED["T4 on an old driver"]))[1]
    assert "too old for today's torch" in hardware.torch_build(gpu(RECORDED["K80"]))[1]


def test_the_card_that_torch_takes_first():
    two = hardware.parse_smi(
        "0, GPU-aaaa, NVIDIA GeForce GTX 1080, 580.95.05, 8192, 7900, 6.1\n1, GPU-bbbb, NVIDIA GeForce RTX 3090, 580.95.05, 24576, 24000, 8.6\n"
    )
    assert hardware.choose_gpu(two, None).index == 1
    assert hardware.choose_gpu(two, "0,1").index == 0
    assert hardware.choose_gpu(two, "GPU-bbbb").index == 1
    assert hardware.choose_gpu(two, "") is None and hardware.choose_gpu(two, "-1") is None


def fake_smi(folder, body):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def bare_python(folder, *words):
    """Only the standard library: -S leaves out site-packages, as on a machine where nothing is installed yet."""
    env = {"PATH": f"{folder}{os.pathsep}{os.defpath}", "PYTHONPATH": str(REPO)}
    return subprocess.run([sys.executable, "-S", "-m", "training.plan.hardware", *words], check=False, capture_output=True, text=True, env=env, timeout=60)


@posix
@pytest.mark.parametrize("machine", ["RTX 4090", "no device", "RTX 5090"])
def test_the_command_on_a_bare_python(tmp_path, machine):
    fake_smi(tmp_path, f"cat <<'END'\n{RECORDED[machine]}END")
    done = bare_python(tmp_path, "torch-build")
    assert done.stdout.strip() == TABLE[machine], done.stderr
    assert done.stderr.strip()


@posix
def test_a_machine_without_nvidia_smi_or_with_a_broken_one(tmp_path):
    assert bare_python(tmp_path, "torch-build").stdout.strip() == "cpu"
    fake_smi(tmp_path, "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9")
    assert bare_python(tmp_path, "torch-build").stdout.strip() == "cpu"


@posix
def test_a_driver_that_does_not_know_compute_cap(tmp_path):
    line = "0, GPU-5a1f2c3d-0011, NVIDIA GeForce RTX 2070, 460.91, 7982, 7900"
    fake_smi(tmp_path, f"""case "$1" in *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2;; esac\necho '{line}'""")
    done = bare_python(tmp_path, "torch-build")
    assert done.stdout.strip() == "cpu"
    assert "too old; update it" in done.stderr


@posix
def test_the_machine_with_a_card(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_smi(tmp_path, f"cat <<'END'\n{RECORDED['RTX 3060 on a new driver']}END")
    seen = hardware.machine(tmp_path)
    assert seen.gpu_name == "NVIDIA GeForce RTX 3060"
    assert seen.vram_bytes == 12288 * 2**20 and seen.vram_free_bytes == 11012 * 2**20
    if hardware.installed_torch() == "cpu":
        assert not seen.cuda_ok and "the one for processors" in seen.note and seen.device == "cpu"


def test_this_machine(tmp_path):
    seen = hardware.machine(tmp_path / "not there yet")
    assert 0 < seen.ram_free_bytes <= seen.ram_bytes
    assert seen.disk_free_bytes > 0 and seen.cpu_name
    assert 1 <= seen.cores <= (os.cpu_count() or 1)
    assert seen is hardware.machine(tmp_path / "not there yet"), "asked again at once, nothing is looked up"


def test_no_torch_is_imported():
    code = "import sys; from training.plan import hardware; hardware.machine(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO, timeout=60)


def card(vendor, arch="", name="A card"):
    return hardware.Gpu(0, "", name, "", 16 * 2**30, 16 * 2**30, vendor=vendor, arch=arch)


@pytest.mark.parametrize(
    ("vendor", "arch", "system", "build", "says"),
    [
        ("amd", "gfx1100", "linux", "rocm7.2", "torch for ROCm 7.2"),
        ("amd", "gfx1036", "linux", "cpu", "none of the AMD cards"),  # a processor's built-in graphics: not worth 5 GB
        ("amd", "gfx1032", "linux", "cpu", "HSA_OVERRIDE_GFX_VERSION"),
        ("amd", "", "win32", "cpu", "only on Linux"),
        ("intel", "", "linux", "xpu", "Intel"),
        ("intel", "", "win32", "xpu", "Intel"),
    ],
)
def test_amd_and_intel_cards_get_their_build_or_an_honest_sentence(monkeypatch, vendor, arch, system, build, says):
    monkeypatch.setattr(sys, "platform", system)
    got, why = hardware.torch_build(card(vendor, arch))
    assert got == build and says in why


def test_an_rtx_50_with_an_older_driver_gets_cuda_12_9_on_linux_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert hardware.torch_build(gpu(RECORDED["RTX 5090 on an old driver"]))[0] == "cpu"
    monkeypatch.setattr(sys, "platform", "linux")
    assert hardware.torch_build(gpu(RECORDED["RTX 5090 on an old driver"]))[0] == "cu129"


def test_the_launcher_installs_for_a_card_that_torch_can_use_before_one_that_it_cannot(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "EASEL_GPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    old = hardware.parse_smi(RECORDED["K80"])
    found = cards.Found((*old, card("amd", "gfx1100")))
    assert hardware.wanted_build(found)[0] == "rocm7.2"
    build, why = hardware.wanted_build(cards.Found((), "nvidia-smi says: no; restart the computer"))
    assert build == "cpu" and why.endswith("nvidia-smi says: no; restart the computer")
