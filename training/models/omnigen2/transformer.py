"""OmniGen2's diffusion transformer, with the names and shapes of the released checkpoint.

Text tokens, patches of reference pictures and patches of the noisy picture are refined apart, then go through one stack of
blocks as one sequence.  A token that is only padding is never attended to, so it does not matter where in the sequence it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import apply_lora_scale
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .rope import grid_positions, rotate, rotation, text_positions

MAX_REFERENCES = 5  # pictures that the checkpoint has an own embedding for
MODULATION_WIDTH = 1024  # widest that the time embedding becomes
TIME_CHANNELS = 256
QK_EPS = 1e-5
OUT_EPS = 1e-6

Turn = tuple[Tensor, Tensor]  # cosine and sine, see rope.rotation


class RMSNorm(nn.RMSNorm):
    """torch's, but its answer has its input's number format under autocast too: what flows from block to block stays narrow."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).to(x.dtype)


class Attention(nn.Module):
    """Self-attention with fewer key and value heads than query heads, normalised queries and keys, rotary positions."""

    def __init__(self, width: int, heads: int, kv_heads: int):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        each = width // heads
        self.to_q = nn.Linear(width, heads * each, bias=False)
        self.to_k = nn.Linear(width, kv_heads * each, bias=False)
        self.to_v = nn.Linear(width, kv_heads * each, bias=False)
        self.norm_q = RMSNorm(each, eps=QK_EPS)
        self.norm_k = RMSNorm(each, eps=QK_EPS)
        self.to_out = nn.ModuleList([nn.Linear(heads * each, width, bias=False)])  # a list: the checkpoint calls it to_out.0

    def forward(self, x: Tensor, mask: Tensor | None, turn: Turn) -> Tensor:
        """x: [B,L,D]; mask: [B,L], True where a token counts, None where all do."""
        q, k, v = (f(x).unflatten(-1, (n, -1)) for f, n in ((self.to_q, self.heads), (self.to_k, self.kv_heads), (self.to_v, self.kv_heads)))
        q, k = rotate(self.norm_q(q), turn).to(v.dtype), rotate(self.norm_k(k), turn).to(v.dtype)
        # repeated by hand: with a mask and enable_gqa, torch falls back to a kernel that holds the whole L x L matrix
        k, v = (each.repeat_interleave(self.heads // self.kv_heads, dim=2) for each in (k, v))
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=None if mask is None else mask[:, None, None]
        )
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, width: int, multiple_of: int, multiplier: float | None):
        super().__init__()
        inner = 4 * width if multiplier is None else int(multiplier * 4 * width)
        inner = -(-inner // multiple_of) * multiple_of
        self.linear_1 = nn.Linear(width, inner, bias=False)
        self.linear_2 = nn.Linear(inner, width, bias=False)
        self.linear_3 = nn.Linear(width, inner, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)) * self.linear_3(x))


class ModulatedNorm(nn.Module):
    """The norm before attention, scaled by the time embedding; it also gives the block's other three factors."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.linear = nn.Linear(min(width, MODULATION_WIDTH), 4 * width)
        self.norm = RMSNorm(width, eps=eps)

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x: [B,L,D]; time: [B,T] -> scaled x, gate of the attention, scale and gate of the feed-forward, each [B,1,D]."""
        scale, gate, ff_scale, ff_gate = self.linear(F.silu(time))[:, None].chunk(4, dim=-1)
        return self.norm(x) * (1 + scale), gate.tanh(), 1 + ff_scale, ff_gate.tanh()


class OmniGen2TransformerBlock(nn.Module):
    """Attention and feed-forward, each between two norms; modulated by the time unless it refines text."""

    def __init__(self, width: int, heads: int, kv_heads: int, multiple_of: int, multiplier: float | None, eps: float, modulated: bool = True):
        super().__init__()
        self.modulated = modulated
        self.attn = Attention(width, heads, kv_heads)
        self.feed_forward = FeedForward(width, multiple_of, multiplier)
        self.norm1 = ModulatedNorm(width, eps) if modulated else RMSNorm(width, eps=eps)
        self.ffn_norm1 = RMSNorm(width, eps=eps)
        self.norm2 = RMSNorm(width, eps=eps)
        self.ffn_norm2 = RMSNorm(width, eps=eps)

    def forward(self, x: Tensor, mask: Tensor | None, turn: Turn, time: Tensor | None = None) -> Tensor:
        """x: [B,L,D]; mask: [B,L] or None; time: [B,T] where the block is modulated."""
        if not self.modulated:
            x = x + self.norm2(self.attn(self.norm1(x), mask, turn))
            return x + self.ffn_norm2(self.feed_forward(self.ffn_norm1(x)))
        normed, gate, ff_scale, ff_gate = self.norm1(x, time)
        x = x + gate * self.norm2(self.attn(normed, mask, turn))
        return x + ff_gate * self.ffn_norm2(self.feed_forward(self.ffn_norm1(x) * ff_scale))


class TimeAndCaptionEmbedding(nn.Module):
    """The time as a vector, the text encoder's states at the transformer's width."""

    def __init__(self, width: int, text_width: int, eps: float, timestep_scale: float):
        super().__init__()
        self.time_proj = Timesteps(TIME_CHANNELS, flip_sin_to_cos=True, downscale_freq_shift=0.0, scale=timestep_scale)
        self.timestep_embedder = TimestepEmbedding(TIME_CHANNELS, min(width, MODULATION_WIDTH))
        self.caption_embedder = nn.Sequential(RMSNorm(text_width, eps=eps), nn.Linear(text_width, width))

    def forward(self, timestep: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """timestep: [B]; text: [B,L,text_width] -> [B,T], [B,L,D]."""
        return self.timestep_embedder(self.time_proj(timestep).to(text.dtype)), self.caption_embedder(text)


class Output(nn.Module):
    """The last norm, scaled by the time embedding, and the way back from width D to a patch."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.linear_1 = nn.Linear(min(width, MODULATION_WIDTH), width)
        self.norm = nn.LayerNorm(width, eps=OUT_EPS, elementwise_affine=False)
        self.linear_2 = nn.Linear(width, out)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.linear_2(self.norm(x) * (1 + self.linear_1(F.silu(time)))[:, None])


class OmniGen2Transformer2DModel(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """The whole denoiser.  The defaults are the released checkpoint's config (OmniGen2/OmniGen2, transformer/config.json).

    axes_lens, the longest sequence of each axis, is kept for the checkpoint's sake: positions are computed here, not looked up.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["OmniGen2TransformerBlock"]
    _repeated_blocks: ClassVar = ["OmniGen2TransformerBlock"]
    _skip_layerwise_casting_patterns: ClassVar = ["x_embedder", "ref_image_patch_embedder", "time_caption_embed", "image_index_embedding", "norm"]

    @register_to_config
    def __init__(
        self,
        patch_size: int = 2,
        in_channels: int = 16,
        out_channels: int | None = None,
        hidden_size: int = 2520,
        num_layers: int = 32,
        num_refiner_layers: int = 2,
        num_attention_heads: int = 21,
        num_kv_heads: int = 7,
        multiple_of: int = 256,
        ffn_dim_multiplier: float | None = None,
        norm_eps: float = 1e-5,
        axes_dim_rope: tuple[int, int, int] = (40, 40, 40),
        axes_lens: tuple[int, int, int] = (10_000, 10_000, 10_000),
        text_feat_dim: int = 2048,
        timestep_scale: float = 1000.0,
    ):
        super().__init__()
        if hidden_size // num_attention_heads != sum(axes_dim_rope):
            raise ValueError(f"a head has {hidden_size // num_attention_heads} channels, but axes_dim_rope {tuple(axes_dim_rope)} sums to {sum(axes_dim_rope)}")
        if num_attention_heads % num_kv_heads:
            raise ValueError(f"{num_attention_heads} heads cannot share {num_kv_heads} key and value heads evenly")
        patch = patch_size * patch_size * in_channels

        def blocks(count: int, modulated: bool = True) -> nn.ModuleList:
            shape = hidden_size, num_attention_heads, num_kv_heads, multiple_of, ffn_dim_multiplier, norm_eps
            return nn.ModuleList([OmniGen2TransformerBlock(*shape, modulated) for _ in range(count)])

        self.x_embedder = nn.Linear(patch, hidden_size)
        self.ref_image_patch_embedder = nn.Linear(patch, hidden_size)
        self.time_caption_embed = TimeAndCaptionEmbedding(hidden_size, text_feat_dim, norm_eps, timestep_scale)
        self.noise_refiner = blocks(num_refiner_layers)
        self.ref_image_refiner = blocks(num_refiner_layers)
        self.context_refiner = blocks(num_refiner_layers, modulated=False)
        self.layers = blocks(num_layers)
        self.norm_out = Output(hidden_size, patch_size * patch_size * (out_channels or in_channels))
        self.image_index_embedding = nn.Parameter(0.02 * torch.randn(MAX_REFERENCES, hidden_size))
        self.gradient_checkpointing = False

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        ref_image_hidden_states: list[list[Tensor] | None] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """clean - noise, [B,C,h,w].

        hidden_states: noisy latents [B,C,h,w], h and w divisible by patch_size.  timestep: [B] in [0,1], 0 is pure noise.
        encoder_hidden_states: [B,L,text_feat_dim], padded at the end.  encoder_attention_mask: [B,L], True or 1 where a token
        counts; None where all do.  ref_image_hidden_states: for each of the B up to five latents [C,h',w'] of any sizes, or None.
        attention_kwargs: {"scale": factor of the LoRA}.
        """
        size, channels = self.config.patch_size, self.config.out_channels or self.config.in_channels
        batch, _, height, width = hidden_states.shape
        rows, columns = height // size, width // size
        text_mask = None if encoder_attention_mask is None else encoder_attention_mask.bool()
        references = ref_image_hidden_states if ref_image_hidden_states is not None else [None] * batch
        if len(references) != batch:
            raise ValueError(f"there are {batch} latents, but reference pictures for {len(references)}")

        time, text = self.time_caption_embed(timestep, encoder_hidden_states)
        length = text.shape[1]
        start = torch.full((batch,), length, device=text.device) if text_mask is None else text_mask.sum(dim=1)
        positions = [text_positions(batch, length, text.device)]
        tokens, masks = [text], [text_mask]
        if any(references):
            seen, seen_mask, seen_positions, start = self._references(references, start, time)
            tokens.append(seen)
            masks.append(seen_mask)
            positions.append(seen_positions)
        positions.append(grid_positions(start, rows, columns))
        turns = [self._turn(p) for p in positions]

        tokens[0] = self._through(self.context_refiner, text, text_mask, turns[0])
        picture = self._through(self.noise_refiner, self.x_embedder(_patches(hidden_states, size)), None, turns[-1], time)
        x = torch.cat([*tokens, picture], dim=1)
        whole = tuple(torch.cat(parts, dim=1) for parts in zip(*turns, strict=True))
        x = self._through(self.layers, x, _joined([*masks, None], [*tokens, picture]), whole, time)
        out = _picture(self.norm_out(x[:, -rows * columns :], time), rows, columns, size, channels)
        return Transformer2DModelOutput(sample=out) if return_dict else (out,)

    def _through(self, blocks: Iterable[nn.Module], x: Tensor, mask: Tensor | None, turn: Turn, time: Tensor | None = None) -> Tensor:
        for block in blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, x, mask, turn, time)
            else:
                x = block(x, mask, turn, time)
        return x

    def _turn(self, positions: Tensor) -> Turn:
        return rotation(positions, self.config.axes_dim_rope)

    def _references(self, references: list[list[Tensor] | None], start: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Refined tokens [B,R,D] of each row's reference pictures one after the other, their mask [B,R] and positions [B,R,3],
        and where the sequence axis goes on behind them, [B]."""
        size = self.config.patch_size
        owners, embedded, places, ends = [], [], [], []
        for row, pictures in enumerate(references):
            at = start[row : row + 1]
            for number, latents in enumerate(pictures or []):
                h, w = latents.shape[-2] // size, latents.shape[-1] // size
                owners.append(row)
                embedded.append(self.ref_image_patch_embedder(_patches(latents[None], size))[0] + self.image_index_embedding[number])
                places.append(grid_positions(at, h, w)[0])
                at = at + max(h, w)
            ends.append(at)
        refined, _ = _padded(embedded)
        spots, mask = _padded(places)
        refined = self._through(self.ref_image_refiner, refined, mask, self._turn(spots), time[owners])

        def of_rows(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
            parts = list(parts)
            mine = [[part for part, owner in zip(parts, owners, strict=True) if owner == row] for row in range(len(references))]
            return _padded([torch.cat(some) if some else parts[0][:0] for some in mine])

        tokens, token_mask = of_rows(part[: len(place)] for part, place in zip(refined, places, strict=True))
        return tokens, token_mask, of_rows(places)[0], torch.cat(ends)


def _patches(latents: Tensor, size: int) -> Tensor:
    """[B,C,h,w] -> [B, number of patches, size*size*C], row by row, channels last within a patch."""
    cut = latents.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # [B, C, rows, size, columns, size]
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def _picture(patches: Tensor, rows: int, columns: int, size: int, channels: int) -> Tensor:
    """The way back from _patches: [B, rows*columns, size*size*C] -> [B,C,h,w]."""
    cut = patches.unflatten(2, (size, size, channels)).unflatten(1, (rows, columns))
    return cut.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def _padded(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Tensors [n,...] of different n as one [N, longest, ...] with zeros at the end, and the mask [N, longest] of what is real."""
    whole = pad_sequence(parts, batch_first=True)
    lengths = torch.tensor([len(part) for part in parts], device=whole.device)
    return whole, torch.arange(whole.shape[1], device=whole.device) < lengths[:, None]


def _joined(masks: list[Tensor | None], parts: list[Tensor]) -> Tensor | None:
    """The mask of a sequence made of `parts` [B,n,D]; None where all tokens count."""
    if all(mask is None for mask in masks):
        return None
    return torch.cat([part.new_ones(part.shape[:2], dtype=torch.bool) if mask is None else mask for mask, part in zip(masks, parts, strict=True)], dim=1)
