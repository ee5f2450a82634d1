"""What an adapter does to each layer, as a product of two thin matrices: added up exactly, cut to a rank, measured.  numpy only, no torch.

A layer's change is dW = up @ down: up [out, r], down [r, in] (of a convolution: inputs times kernel, its shape kept beside).  LoRA is that
product times alpha / r; LoHa is (a b) o (c d), which is a product of rank r1 * r2; LoKr is kron(w1, w2), whose factors are those of w1 and
w2.  The sum of adapters is the product of their factors side by side, whatever their ranks: nothing of it is rounded but the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .foreign import normal, peft_parts, refuse_others
from .layouts import Arrays, by_layer

CONVOLUTION = re.compile(r"(?:^|[._])(?:conv|conv1|conv2|conv_in|conv_out|in_layers[._]2|out_layers[._]3|op)$")


@dataclass(frozen=True)
class Product:
    """dW of one layer: up [out, r] @ down [r, in], fp32 or fp64.  kernel: () of a matrix, else the convolution's (out, in, k, k) as a weight."""

    up: np.ndarray
    down: np.ndarray
    kernel: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        return self.up.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of dW, as the layer's weight has it."""
        return self.kernel or (self.up.shape[0], self.down.shape[1])

    def dense(self) -> np.ndarray:
        """dW, in the weight's own shape."""
        return (self.up @ self.down).reshape(self.shape)

    def norm(self) -> float:
        """‖dW‖, Frobenius, without dW: the trace of (upᵀ up)(down downᵀ)."""
        return self._norm

    @cached_property
    def _norm(self) -> float:
        up, down = self.up.astype(np.float64), self.down.astype(np.float64)
        return float(np.sqrt(max(0.0, np.sum((up.T @ up) * (down @ down.T)))))

    def times(self, strength: float) -> Product:
        return replace(self, up=self.up * self.up.dtype.type(strength))


def layers_of(tensors: Arrays) -> dict[str, Arrays]:
    """{layer as the file names it: its tensors by peft's names}, each layer's scale in its weights.  Raises ValueError for what is no adapter.

    tensors: of a whole file, or of some of its layers, in any layout.
    """
    tensors = {normal(k): v for k, v in tensors.items()}
    refuse_others(tensors)
    return {stem: peft_parts(parts) for stem, parts in by_layer(tensors).items()}


def product(name: str, parts: Mapping[str, np.ndarray]) -> Product:
    """One layer's change as a product.  Raises ValueError for kinds whose change depends on the base model's weights (DoRA, OFT)."""
    kinds = set(parts)
    if "lora_magnitude_vector" in kinds:
        raise ValueError(f"{name} is a DoRA's, whose effect depends on the base model's own weights; fuse it into its base model, then extract a LoRA from that")
    if "oft_R.weight" in kinds:
        raise ValueError(f"{name} is an OFT's, which turns the base model's own weights; fuse it into its base model, then extract a LoRA from that")
    if kinds == {"lora_A.weight", "lora_B.weight"}:
        return _of_lora(parts["lora_B.weight"], parts["lora_A.weight"])
    if kinds == {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}:
        up, down = _faces(parts["hada_w1_a"], parts["hada_w2_a"], rows=True), _faces(parts["hada_w1_b"], parts["hada_w2_b"], rows=False)
        kernel = _kernel(name, down.shape[1])
        return Product(up, down, (len(up), down.shape[1] // 9, *kernel) if kernel else ())
    if any(k.startswith("lokr_") for k in kinds) and not any("_t" in k for k in kinds):
        return _of_lokr(name, parts)
    raise ValueError(f"{name} holds {', '.join(sorted(kinds))}, a kind of adapter that cannot be written as a LoRA here")


def _of_lora(up: np.ndarray, down: np.ndarray) -> Product:
    kernel = (up.shape[0], *down.shape[1:]) if down.ndim > 2 else ()
    if up.ndim > 2 and any(side != 1 for side in up.shape[2:]):
        raise ValueError("a LoRA whose upper part has a kernel of its own cannot be read here")
    return Product(_float(up.reshape(up.shape[0], -1)), _float(down.reshape(down.shape[0], -1)), kernel)


def _kernel(name: str, inputs: int) -> tuple[int, ...]:
    """(3, 3) for the layers that are such a convolution in every UNet: LoHa's and LoKr's thin factors do not show it."""
    return (3, 3) if inputs % 9 == 0 and CONVOLUTION.search(name) else ()


def _of_lokr(name: str, parts: Mapping[str, np.ndarray]) -> Product:
    """kron(u1 d1, u2 d2) = kron(u1, u2) @ kron(d1, d2)."""
    one, two = (_two(parts, "lokr_w1"), _two(parts, "lokr_w2"))
    (u1, d1, _), (u2, d2, kernel) = one, two
    kernel = kernel or ("lokr_w2" not in parts and _kernel(name, d2.shape[1]))
    if not kernel:
        return Product(np.kron(u1, u2), np.kron(d1, d2))
    taps = int(np.prod(kernel))  # the kernel stays innermost, as kron of a matrix and a convolution has it
    d2 = d2.reshape(len(d2), -1, taps)
    down = np.einsum("ri,sjt->rsijt", d1, d2).reshape(len(d1) * len(d2), -1)
    inputs = d1.shape[1] * d2.shape[1]
    return Product(np.kron(u1, u2), down, (u1.shape[0] * u2.shape[0], inputs, *kernel))


def _two(parts: Mapping[str, np.ndarray], which: str) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """(up, down, kernel) of one factor of a LoKr: as it is taken apart, else by the smaller of its sides."""
    if which in parts:
        whole = _float(parts[which])
        kernel = whole.shape[2:]
        flat = whole.reshape(whole.shape[0], -1)
        short = flat.shape[0] <= flat.shape[1]
        eye = np.eye(min(flat.shape), dtype=flat.dtype)
        return (eye, flat, kernel) if short else (flat, eye, kernel)
    up, down = _float(parts[f"{which}_a"]), _float(parts[f"{which}_b"])
    return up.reshape(up.shape[0], -1), down.reshape(down.shape[0], -1), down.shape[2:]


def _faces(one: np.ndarray, two: np.ndarray, rows: bool) -> np.ndarray:
    """The products of every column of one with every column of two, row by row (of rows: with rows); (a b) o (c d) has these for factors."""
    one, two = _float(one), _float(two)
    if rows:
        return (one[:, :, None] * two[:, None, :]).reshape(len(one), -1)
    return (one[:, None, :] * two[None, :, :]).reshape(-1, one.shape[1])


def _float(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def total(products: Iterable[tuple[float, Product]]) -> Product:
    """The exact sum of products times their strengths: factors side by side, so that ranks add up.  A strength may be negative: it is in up alone."""
    given = list(products)
    shapes = {p.shape for _, p in given}
    if len(shapes) != 1:
        raise ValueError(f"layers of different shapes ({', '.join(map(str, sorted(shapes)))}) cannot be added; are the files for one base model?")
    up = np.concatenate([p.up * p.up.dtype.type(s) for s, p in given], axis=1)
    return Product(up, np.concatenate([p.down for _, p in given]), given[0][1].kernel)


def spectrum(p: Product) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u [out, k], s [k] falling, v [k, in]) of dW, k at most the rank: by QR of the thin factors and an SVD of r x r, never of dW."""
    up, down = p.up.astype(np.float64), p.down.astype(np.float64)
    q1, r1 = np.linalg.qr(up)
    q2, r2 = np.linalg.qr(down.T)
    u, s, v = np.linalg.svd(r1 @ r2.T)
    return q1 @ u, s, v @ q2.T


@dataclass(frozen=True)
class Cut:
    """How far a layer is cut down.  rank: at most; share: of ‖dW‖ that is kept at least, 1 is all; threshold: values below this share of the largest go."""

    rank: int = 1024
    share: float = 1.0
    threshold: float = 0.0

    def of(self, s: np.ndarray, norm: float | None = None) -> int:
        """How many of the falling singular values stay, at least 1.  norm: ‖dW‖ where s is only the largest part of it."""
        energy = np.cumsum(np.square(s, dtype=np.float64))
        all_of_it = energy[-1] if norm is None else norm**2
        wanted = int(np.searchsorted(energy, self.share**2 * all_of_it * (1 - 1e-12))) + 1 if self.share < 1 else len(s)
        loud = int(np.sum(s >= max(self.threshold * s[0], np.finfo(np.float32).eps * s[0]))) if len(s) and s[0] > 0 else 1
        return max(1, min(self.rank, wanted, loud, len(s)))


def shortened(p: Product, cut: Cut) -> tuple[Product, float]:
    """(the best product of a smaller rank, share of ‖dW‖ that it keeps), the singular values shared evenly between both factors."""
    u, s, v = spectrum(p)
    r = cut.of(s)
    whole = float(np.sqrt(np.sum(s**2)))
    kept = float(np.sqrt(np.sum(s[:r] ** 2))) / whole if whole else 1.0
    return balanced(u[:, :r], s[:r], v[:r], p.kernel), kept


def balanced(u: np.ndarray, s: np.ndarray, v: np.ndarray, kernel: tuple[int, ...] = ()) -> Product:
    """The product u diag(s) v with √s in each factor, fp32: neither overflows nor vanishes in half precision."""
    root = np.sqrt(s)
    return Product((u * root).astype(np.float32), (root[:, None] * v).astype(np.float32), kernel)


def lora_parts(p: Product) -> Arrays:
    """The product as a LoRA's tensors by peft's names, fp32; alpha is the rank."""
    up, down = np.ascontiguousarray(p.up, np.float32), np.ascontiguousarray(p.down, np.float32)
    if not p.kernel:
        return {"lora_A.weight": down, "lora_B.weight": up}
    return {"lora_A.weight": down.reshape(p.rank, *p.kernel[1:]), "lora_B.weight": up.reshape(*up.shape, *[1] * (len(p.kernel) - 2))}
