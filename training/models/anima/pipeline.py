"""Text to picture with Anima, from prompts or from what was read of them; it walks as diffusers' blocks do (modular_pipelines/anima)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from diffusers import AnimaTextConditioner, AutoencoderKLQwenImage, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders import AnimaLoraLoaderMixin
from diffusers.modular_pipelines.anima.before_denoise import AnimaTextConditioningStep
from diffusers.modular_pipelines.anima.encoders import AnimaTextEncoderStep
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen3Model

from .. import arguments
from .transformer import CosmosTransformer3DModel

MAX_TOKENS = 512  # of either tokenizer; the blocks' default, and the length that the network's text is filled up to


class AnimaPipeline(DiffusionPipeline, AnimaLoraLoaderMixin):
    """Draws pictures from prompts, or from prompt embeddings without the text encoder and what comes after it.

    t5_tokenizer counts the places that text_conditioner fills with what text_encoder, whose tokenizer is `tokenizer`, says.
    """

    model_cpu_offload_seq = "text_encoder->text_conditioner->transformer->vae"
    _callback_tensor_inputs: ClassVar = ["latents", "prompt_embeds"]

    def __init__(
        self,
        transformer: CosmosTransformer3DModel,
        vae: AutoencoderKLQwenImage,
        scheduler: FlowMatchEulerDiscreteScheduler,
        text_encoder: Qwen3Model,
        tokenizer: PreTrainedTokenizerBase,
        text_conditioner: AnimaTextConditioner,
        t5_tokenizer: PreTrainedTokenizerBase,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer, vae=vae, scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer,
            text_conditioner=text_conditioner, t5_tokenizer=t5_tokenizer,
        )  # fmt: skip
        self.vae_scale_factor = 2 ** len(vae.temperal_downsample) if vae is not None else 8
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor * 2)  # a token is 2 x 2 latent cells

    @property
    def guidance_scale(self) -> float:
        """How far each step goes beyond the negative prompt; 1 and less means that there is no negative one."""
        return self._guidance_scale

    @property
    def num_timesteps(self) -> int:
        """Steps of the walk that is under way."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether a callback asked to stop: what is left of the walk is skipped."""
        return self._interrupt

    def encode_prompt(self, prompt: str | list[str], num_images_per_prompt: int = 1, device: torch.device | None = None, max_sequence_length: int = MAX_TOKENS) -> Tensor:
        """What the network is told of prompts, [B,L,D], by diffusers' own blocks; zeros beyond a prompt's end."""
        device = device or self._execution_device
        read = AnimaTextEncoderStep.encode_prompt(self, prompt, prepare_unconditional_embeds=False, max_sequence_length=max_sequence_length, device=device)
        said = {name: read[name] for name in ("qwen_prompt_embeds", "qwen_attention_mask", "t5_input_ids", "t5_attention_mask")}
        dtype = self.text_conditioner.dtype
        embeds = AnimaTextConditioningStep._condition_prompt_embeds(self, **said, device=device, conditioning_dtype=dtype, output_dtype=dtype)
        return embeds.repeat_interleave(num_images_per_prompt, dim=0)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] = "",
        height: int = 1024,
        width: int = 1024,
        num_inference_steps: int = 50,
        sigmas: list[float] | None = None,
        guidance_scale: float = 4.0,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[DiffusionPipeline, int, Tensor, dict], dict] | None = None,
        callback_on_step_end_tensor_inputs: list[str] | None = None,
        max_sequence_length: int = MAX_TOKENS,
    ) -> ImagePipelineOutput | tuple:
        """Pictures as `output_type` says: "pil", "np", "pt", or "latent" for the normalised latents [B,C,h,w].

        prompt_embeds [B,L,D] stand for the prompt (then num_images_per_prompt has no part in it), negative_prompt_embeds for the
        negative one.  latents: [B,C,h,w] pure noise, instead of a generator.  Raises ValueError.
        """
        tensors = callback_on_step_end_tensor_inputs if callback_on_step_end_tensor_inputs is not None else ["latents"]
        arguments.check(self, prompt, prompt_embeds, height, width, tensors)
        self._guidance_scale, self._interrupt = guidance_scale, False
        device = self._execution_device

        if prompt_embeds is None:
            prompt = [prompt] if isinstance(prompt, str) else prompt
            prompt_embeds = self.encode_prompt(prompt, num_images_per_prompt, device, max_sequence_length)
        batch = len(prompt_embeds)
        if guidance_scale > 1 and negative_prompt_embeds is None:
            if self.text_encoder is None:
                raise ValueError("guidance_scale is above 1, so negative_prompt_embeds are needed: there is no text encoder to make them")
            negative = [negative_prompt] * batch if isinstance(negative_prompt, str) else [n for n in negative_prompt for _ in range(num_images_per_prompt)]
            if len(negative) != batch:
                raise ValueError(f"there are {len(negative)} negative prompts for {batch} pictures; give one, or one a prompt")
            negative_prompt_embeds = self.encode_prompt(negative, 1, device, max_sequence_length)

        shape = (batch, self.transformer.config.in_channels, height // self.vae_scale_factor, width // self.vae_scale_factor)
        if latents is None:
            drawn = randn_tensor((*shape[:2], 1, *shape[2:]), generator=generator, device=device, dtype=torch.float32)
        elif tuple(latents.shape) != shape:
            raise ValueError(f"latents are {tuple(latents.shape)}, but {width}x{height} px are {shape}")
        else:
            drawn = latents.to(device, torch.float32).unsqueeze(2)  # a film of one frame
        self.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / num_inference_steps, num_inference_steps) if sigmas is None else sigmas, device=device)
        self.scheduler.set_begin_index(0)
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)

        with self.progress_bar(total=len(timesteps)) as bar:
            for number, t in enumerate(timesteps):
                if self.interrupt:
                    continue
                found = self._denoise(drawn, t, prompt_embeds)
                if guidance_scale > 1:
                    other = self._denoise(drawn, t, negative_prompt_embeds)
                    found = other + guidance_scale * (found - other)
                drawn = self.scheduler.step(found, t, drawn, return_dict=False)[0]
                if callback_on_step_end is not None:
                    known = {"latents": drawn.squeeze(2), "prompt_embeds": prompt_embeds}
                    changed = callback_on_step_end(self, number, t, {name: known[name] for name in tensors})
                    drawn = changed.pop("latents", known["latents"]).unsqueeze(2)
                    prompt_embeds = changed.pop("prompt_embeds", prompt_embeds)
                bar.update()

        pictures = drawn.squeeze(2) if output_type == "latent" else self._decode(drawn, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=pictures) if return_dict else (pictures,)

    def _denoise(self, latents: Tensor, t: Tensor, embeds: Tensor) -> Tensor:
        """noise - clean, [B,C,1,h,w]."""
        dtype = self.transformer.dtype
        time = t.expand(len(latents)).to(dtype) / self.scheduler.config.num_train_timesteps
        return self.transformer(latents.to(dtype), time, embeds.to(dtype), return_dict=False)[0]

    def _decode(self, latents: Tensor, output_type: str):
        config, latents = self.vae.config, latents.to(self.vae.dtype)
        mean, std = (torch.tensor(values).view(1, -1, 1, 1, 1).to(latents.device, latents.dtype) for values in (config.latents_mean, config.latents_std))
        return self.image_processor.postprocess(self.vae.decode(latents * std + mean, return_dict=False)[0][:, :, 0], output_type=output_type)
