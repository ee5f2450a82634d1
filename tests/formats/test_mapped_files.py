"""Numbers in and out of files, held to torch's own conversions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from training.formats.mapped import Mapped, encoded, write

TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}


@pytest.mark.parametrize("dtype", TYPES)
def test_every_format_is_read_as_torch_reads_it(tmp_path, dtype):
    if dtype.startswith("F8"):
        every = torch.arange(256, dtype=torch.uint8).view(TYPES[dtype])
    else:
        every = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).to(TYPES[dtype])
    save_file({"odd": torch.zeros(3, dtype=torch.uint8), "t": every}, tmp_path / "a.safetensors")  # an odd start: nothing is aligned
    np.testing.assert_array_equal(Mapped(tmp_path / "a.safetensors").tensor("t"), every.float().numpy())


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_every_format_is_written_as_torch_rounds(tmp_path, dtype):
    values = torch.cat([torch.randn(2000, generator=torch.Generator().manual_seed(1)), torch.tensor([0.0, -0.0, 1e-30, 1 + 2**-9, 1 + 3 * 2**-9, float("nan"), float("inf")])])
    file = tmp_path / "a.safetensors"
    write(file, {"t": (dtype, tuple(values.shape))}, [("t", encoded(values.numpy(), dtype, "t"))], {"who": "ß"})
    found = load_file(file)["t"]
    assert torch.equal(found[~found.isnan()], values.to(TYPES[dtype])[~found.isnan()]) and int(found.isnan().sum()) == 1
    assert Mapped(file).metadata["who"] == "ß" and Mapped(file).metadata["modelspec.hash_sha256"].startswith("0x")


@pytest.mark.parametrize(("dtype", "value"), [("F16", 1e6), ("BF16", 3.4e38)])
def test_what_does_not_fit_is_said(dtype, value):
    with pytest.raises(ValueError, match=f"up.weight would hold values that do not fit {dtype}"):
        encoded(np.array([value], np.float32), dtype, "up.weight")


@pytest.mark.parametrize("parts", [[("a", b"\0" * 4)], [("b", b"\0" * 4), ("a", b"\0" * 4)], [("a", b"\0" * 4), ("b", b"\0" * 8)]])
def test_a_file_that_would_not_be_whole_is_not_there(tmp_path, parts):
    with pytest.raises(ValueError):
        write(tmp_path / "a.safetensors", {"a": ("F32", (1,)), "b": ("F32", (1,))}, parts, {})
    assert list(tmp_path.iterdir()) == []


def test_rows_are_those_of_the_whole(tmp_path):
    t = torch.randn(6, 3, 2, dtype=torch.float32).bfloat16()
    save_file({"t": t}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(Mapped(tmp_path / "a.safetensors").rows("t", 2, 5), t[2:5].float().numpy())
