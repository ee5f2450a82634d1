"""Text and reference pictures to picture with OmniGen2: the walk from noise to latents, the prompt's template, and LoRA files in and out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders.lora_pipeline import SanaLoraLoaderMixin
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from .. import arguments, sizes
from .transformer import OmniGen2Transformer2DModel

# What Qwen2.5's chat template makes of this system message and the prompt.
TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant that generates high-quality images based on user instructions.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n"
)
MAX_TOKENS = 888  # template and prompt together; data.maximum_text_tokens of options/ft_lora.yml in VectorSpaceLab/OmniGen2
SHIFT_CELLS = 40  # latents of this side are walked evenly, larger ones slower near the noise; the published scheduler's constant


class OmniGen2LoraLoaderMixin(SanaLoraLoaderMixin):
    """LoRAs of the transformer: files whose keys begin with "transformer." (diffusers) or "diffusion_model." (ai-toolkit, ComfyUI)."""

    @classmethod
    def lora_state_dict(cls, pretrained_model_name_or_path_or_dict, **kwargs):
        """The file's tensors under diffusers' names, and its metadata if return_lora_metadata is set.

        Raises ValueError for a file without a single key of this network: loading it would change nothing.
        """
        with_metadata = kwargs.pop("return_lora_metadata", False)
        state, metadata = super().lora_state_dict(pretrained_model_name_or_path_or_dict, return_lora_metadata=True, **kwargs)
        ours, others = f"{cls.transformer_name}.", "diffusion_model."
        state = {ours + k.removeprefix(others) if k.startswith(others) else k: v for k, v in state.items()}
        if not any(k.startswith(ours) for k in state):
            raise ValueError(f"this LoRA has no layer of OmniGen2: its keys begin with {min(state, default='nothing')!r}, not with {ours!r} or {others!r}")
        return (state, metadata) if with_metadata else state


class OmniGen2Pipeline(DiffusionPipeline, OmniGen2LoraLoaderMixin):
    """Draws pictures from prompts, or from prompt embeddings without the text encoder.

    mllm: the Qwen2.5-VL that reads the prompt.  processor: its tokenizer, or a processor that has one.
    """

    model_cpu_offload_seq = "mllm->transformer->vae"
    _callback_tensor_inputs: ClassVar = ["latents", "prompt_embeds"]

    def __init__(
        self,
        transformer: OmniGen2Transformer2DModel,
        vae: AutoencoderKL,
        scheduler: FlowMatchEulerDiscreteScheduler,
        mllm: Qwen2_5_VLForConditionalGeneration,
        processor: PreTrainedTokenizerBase,
    ):
        super().__init__()
        self.register_modules(transformer=transformer, vae=vae, scheduler=scheduler, mllm=mllm, processor=processor)
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1) if vae is not None else 8
        patch = transformer.config.patch_size if transformer is not None else 2
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor * patch)

    @property
    def text_guidance_scale(self) -> float:
        """How far each step goes beyond the negative prompt; 1 and less means that there is no negative one."""
        return self._text_guidance_scale

    @property
    def num_timesteps(self) -> int:
        """Steps of the walk that is under way."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether a callback asked to stop: what is left of the walk is skipped."""
        return self._interrupt

    def encode_prompt(
        self,
        prompt: str | list[str],
        num_images_per_prompt: int = 1,
        device: torch.device | None = None,
        max_sequence_length: int = MAX_TOKENS,
    ) -> tuple[Tensor, Tensor]:
        """The last hidden states of the prompts in their template, [B,L,D], zero where padded, and their mask, [B,L] bool."""
        device = device or self._execution_device
        tokenizer = getattr(self.processor, "tokenizer", self.processor)
        texts = [TEMPLATE.format(p) for p in ([prompt] if isinstance(prompt, str) else prompt)]
        found = tokenizer(texts, padding="longest", padding_side="right", truncation=True, max_length=max_sequence_length, return_tensors="pt")
        ids, mask = found.input_ids.to(device), found.attention_mask.to(device)
        states = self.mllm.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        states = states * mask[..., None].to(states.dtype)
        return states.repeat_interleave(num_images_per_prompt, dim=0), mask.bool().repeat_interleave(num_images_per_prompt, dim=0)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] = "",
        height: int = 1024,
        width: int = 1024,
        num_inference_steps: int = 28,
        text_guidance_scale: float = 4.0,
        image_guidance_scale: float = 1.0,
        input_images: Image.Image | list[Image.Image] | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        prompt_attention_mask: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        negative_prompt_attention_mask: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
        callback_on_step_end: Callable[[DiffusionPipeline, int, Tensor, dict], dict] | None = None,
        callback_on_step_end_tensor_inputs: list[str] | None = None,
        max_sequence_length: int = MAX_TOKENS,
    ) -> ImagePipelineOutput | tuple:
        """Pictures as `output_type` says: "pil", "np", "pt", or "latent" for the normalised latents [B,C,h,w].

        prompt_embeds [B,L,D] with prompt_attention_mask [B,L] stand for the prompt (then num_images_per_prompt has no part in
        it), negative_prompt_embeds with their mask for the negative one; a mask may be None where nothing is padded.
        input_images: up to five pictures that each is made from.  With them, and both guidance scales above 1, image_guidance_scale
        says how far each step goes towards them; else it has no part in it.
        latents: [B,C,h,w] pure noise, instead of a generator.  Raises ValueError.
        """
        tensors = callback_on_step_end_tensor_inputs if callback_on_step_end_tensor_inputs is not None else ["latents"]
        arguments.check(self, prompt, prompt_embeds, height, width, tensors)
        self._text_guidance_scale, self._interrupt = text_guidance_scale, False
        device = self._execution_device

        if prompt_embeds is None:
            prompt = [prompt] if isinstance(prompt, str) else prompt
            prompt_embeds, prompt_attention_mask = self.encode_prompt(prompt, num_images_per_prompt, device, max_sequence_length)
        batch = len(prompt_embeds)
        if text_guidance_scale > 1 and negative_prompt_embeds is None:
            if self.mllm is None:
                raise ValueError("text_guidance_scale is above 1, so negative_prompt_embeds are needed: there is no text encoder to make them")
            negative = [negative_prompt] * batch if isinstance(negative_prompt, str) else [n for n in negative_prompt for _ in range(num_images_per_prompt)]
            if len(negative) != batch:
                raise ValueError(f"there are {len(negative)} negative prompts for {batch} pictures; give one, or one a prompt")
            negative_prompt_embeds, negative_prompt_attention_mask = self.encode_prompt(negative, 1, device, max_sequence_length)

        shape = (batch, self.transformer.config.in_channels, height // self.vae_scale_factor, width // self.vae_scale_factor)
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        elif tuple(latents.shape) != shape:
            raise ValueError(f"latents are {tuple(latents.shape)}, but {width}x{height} px are {shape}")
        latents = latents.to(device, torch.float32)
        shown = self.encode_references(input_images, device)
        timesteps = self._timesteps(num_inference_steps, shape, device)

        with self.progress_bar(total=len(timesteps)) as bar:
            for number, t in enumerate(timesteps):
                if self.interrupt:
                    continue
                found = self._denoise(latents, t, prompt_embeds, prompt_attention_mask, attention_kwargs, shown)
                if text_guidance_scale > 1:
                    without = [latents, t, negative_prompt_embeds, negative_prompt_attention_mask, attention_kwargs]
                    other = self._denoise(*without)
                    if shown and image_guidance_scale > 1:
                        seen = self._denoise(*without, shown)
                        found = other + image_guidance_scale * (seen - other) + text_guidance_scale * (found - seen)
                    else:
                        found = other + text_guidance_scale * (found - other)
                latents = self.scheduler.step(found, t, latents, return_dict=False)[0]
                if callback_on_step_end is not None:
                    known = {"latents": latents, "prompt_embeds": prompt_embeds}
                    changed = callback_on_step_end(self, number, t, {name: known[name] for name in tensors})
                    latents, prompt_embeds = changed.pop("latents", latents), changed.pop("prompt_embeds", prompt_embeds)
                bar.update()

        pictures = latents if output_type == "latent" else self._decode(latents, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=pictures) if return_dict else (pictures,)

    def _timesteps(self, steps: int, shape: tuple[int, ...], device) -> Tensor:
        """The scheduler set up for latents of `shape`; its timesteps, 1000 for pure noise."""
        extra = {"mu": math.log(math.sqrt(shape[-2] * shape[-1]) / SHIFT_CELLS)} if self.scheduler.config.use_dynamic_shifting else {}
        self.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), device=device, **extra)
        self.scheduler.set_begin_index(0)
        self._num_timesteps = len(self.scheduler.timesteps)
        return self.scheduler.timesteps

    def encode_references(self, pictures: Image.Image | list[Image.Image] | None, device) -> list[Tensor]:
        """Latents [1,C,h,w] of pictures, normalised: the likeliest ones, where the published pipeline draws near them."""
        found = []
        for picture in [pictures] if isinstance(pictures, Image.Image) else pictures or []:
            width, height = sizes.omnigen2(*picture.size)
            pixels = self.image_processor.preprocess(picture, height, width).to(device, self.vae.dtype)
            latents = self.vae.encode(pixels).latent_dist.mode().float()
            found.append((latents - (self.vae.config.shift_factor or 0)) * self.vae.config.scaling_factor)
        return found

    def _denoise(self, latents: Tensor, t: Tensor, embeds: Tensor, mask: Tensor | None, attention_kwargs: dict | None, shown: Sequence[Tensor] = ()) -> Tensor:
        """noise - clean, as the scheduler wants it; the network itself says clean - noise and counts time from the noise on."""
        dtype = self.transformer.dtype
        time = (1 - t / self.scheduler.config.num_train_timesteps).expand(len(latents))
        references = [[each[0].to(dtype) for each in shown]] * len(latents) if shown else None
        found = self.transformer(latents.to(dtype), time, embeds.to(dtype), mask, references, attention_kwargs=attention_kwargs, return_dict=False)[0]
        return -found.float()

    def _decode(self, latents: Tensor, output_type: str):
        config = self.vae.config
        plain = latents / config.scaling_factor + (config.shift_factor or 0)
        return self.image_processor.postprocess(self.vae.decode(plain.to(self.vae.dtype), return_dict=False)[0], output_type=output_type)
