"""Cosmos Predict2's network as Anima calls it, without torchvision."""

from __future__ import annotations

import diffusers
import torch
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor
from torch.nn.functional import interpolate


class CosmosTransformer3DModel(diffusers.CosmosTransformer3DModel):
    """diffusers' network and weights; its own forward shrinks the padding mask by torchvision, of which we want no more than that.

    It has the name of the class that it stands for: LoRA loaders and saved settings go by it.
    """

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, padding_mask: Tensor | None = None, return_dict: bool = True
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """hidden_states: [B,C,f,h,w]; timestep: [B], 1 is pure noise; encoder_hidden_states: [B,L,D]; padding_mask: [1,1,H,W], 1 where nothing is to be drawn, None for nowhere."""
        batch, _, frames, height, width = hidden_states.shape
        if self.config.concat_padding_mask:
            mask = hidden_states.new_zeros(1, 1, height, width) if padding_mask is None else interpolate(padding_mask.to(hidden_states.dtype), (height, width), mode="nearest")
            hidden_states = torch.cat([hidden_states, mask.unsqueeze(2).expand(batch, 1, frames, height, width)], dim=1)
        rotary = self.rope(hidden_states, fps=None)
        places = self.learnable_pos_embed(hidden_states) if self.learnable_pos_embed is not None else None
        tokens = self.patch_embed(hidden_states).flatten(1, 3)
        time, plain_time = self.time_embed(tokens, timestep)
        for block in self.transformer_blocks:
            told = (tokens, encoder_hidden_states, plain_time, time, rotary, places)
            tokens = self._gradient_checkpointing_func(block, *told) if torch.is_grad_enabled() and self.gradient_checkpointing else block(*told)
        out = self.proj_out(self.norm_out(tokens, plain_time, time))
        deep, high, wide = self.config.patch_size
        # a token's numbers stand by row, column, frame and channel of its patch
        out = out.reshape(batch, frames // deep, height // high, width // wide, high, wide, deep, -1).permute(0, 7, 1, 6, 2, 4, 3, 5)
        sample = out.flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)
