"""Trains the built-in base model from nothing: tokenizer, autoencoder, then denoiser and text encoder together.

    python -m presets.builtin.make.train_base --work DIR --out presets/builtin/base

Everything is drawn by draw.py; nothing is downloaded.  Each stage leaves its result in DIR, and a stage that was cut off
goes on from its last checkpoint: step k draws its randomness from (seed, k) alone.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import nn

from . import networks
from .draw import ASPECTS, caption, clutter, draw, random_creature, random_scene

SEED = 20260131
PICTURES = (36_000, 3_000, 3_000)  # how many of each of draw.ASPECTS
CREATURES = 10_000  # pictures whose shape has eyes or a feeler
AUTOENCODER_PICTURES = 9_000
CHECKPOINT_S = 150


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--work", type=Path, required=True, help="folder for checkpoints and drawn latents")
    ask.add_argument("--out", type=Path, required=True, help="folder for the finished model (diffusers layout)")
    ask.add_argument("--autoencoder-steps", type=int, default=1_850)
    ask.add_argument("--decoder-steps", type=int, default=1_000, help="further steps of the decoder alone, after the denoiser")
    ask.add_argument("--steps", type=int, default=3_400, help="optimizer steps of denoiser and text encoder")
    ask.add_argument("--peak-lr", type=float, default=8e-4, help="learning rate of denoiser and text encoder after warm-up")
    ask.add_argument("--batch", type=int, default=32)
    ask.add_argument("--threads", type=int, default=2)
    args = ask.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)

    words = learn_words()
    vae = train_autoencoder(args.work, args.autoencoder_steps)
    data = drawn_latents(args.work, vae)
    unet, text = train_denoiser(args.work, words, data, args.steps, args.batch, args.peak_lr)
    vae = sharpen(args.work, vae, args.decoder_steps)
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=words, unet=unet, scheduler=networks.scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.to(torch.float16).save_pretrained(args.out)
    told = args.out / "text_encoder" / "config.json"  # transformers loads in the format named there, diffusers in fp32: one for all
    told.write_text(told.read_text(encoding="utf-8").replace('"float16"', '"float32"'), encoding="utf-8")
    print(f"saved {sum(f.stat().st_size for f in args.out.rglob('*') if f.is_file()) / 1e6:.1f} MB in {args.out}")


def learn_words():
    rng = Random(SEED)
    return networks.tokenizer(caption(random_scene(rng), rng) for _ in range(20_000))


# --- one resumable loop for both stages ------------------------------------------------------------------------------


def train(file: Path, net: nn.Module, average: nn.Module, loss_of: Callable, steps: int, peak_lr: float) -> nn.Module:
    """average, holding the moving average of net's weights after all steps.  loss_of(step) -> scalar tensor."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=peak_lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    first = 0
    if file.exists():
        saved = torch.load(file, weights_only=True)
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    average.requires_grad_(False)
    last_save, last_print, losses = time.monotonic(), time.monotonic(), []
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * min((step + 1) / 200, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        torch.manual_seed(SEED * 1_000_003 + step)
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        keep = min(0.998, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in net.parameters()], 1 - keep)
        losses.append(loss.detach())
        if (step + 1) % 50 == 0:
            spent = (time.monotonic() - last_print) / len(losses)
            print(f"{file.stem} {step + 1}/{steps} loss {torch.stack(losses).mean():.4f} {spent:.2f} s/step", flush=True)
            last_print, losses = time.monotonic(), []
        if step + 1 == steps or time.monotonic() - last_save > CHECKPOINT_S:
            state = {"net": net.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            save_whole(state, file)
            last_save = time.monotonic()
    return average


def save_whole(state, file: Path) -> None:
    """Write, then rename: a run that is cut off never leaves half a checkpoint."""
    torch.save(state, file.with_suffix(".tmp"))
    os.replace(file.with_suffix(".tmp"), file)


def half_precision():
    return torch.autocast("cpu", torch.bfloat16)


def copy_of(make: Callable[[], nn.Module], net: nn.Module) -> nn.Module:
    other = make()
    other.load_state_dict(net.state_dict())
    return other.to(memory_format=torch.channels_last)


# --- autoencoder -----------------------------------------------------------------------------------------------------


def train_autoencoder(work: Path, steps: int, batch: int = 16) -> AutoencoderKL:
    """The trained autoencoder with centred latents; its config's scaling_factor gives them unit variance."""
    torch.manual_seed(SEED)
    vae = networks.autoencoder().to(memory_format=torch.channels_last)
    average = copy_of(networks.autoencoder, vae)
    drawn = autoencoder_pictures(work)

    def loss_of(step: int) -> torch.Tensor:
        pixels = recoloured(drawn[torch.randint(len(drawn), (batch,)).numpy()])
        with half_precision():
            seen = vae.encode(pixels).latent_dist
            shown = vae.decode(seen.sample()).sample
        wrong = shown.float() - pixels
        spread = 0.5 * (seen.mean.float() ** 2 + seen.var.float() - 1 - seen.logvar.float()).mean()
        return wrong.abs().mean() + wrong.square().mean() + 2e-4 * spread

    vae = train(work / "autoencoder.pt", vae, average, loss_of, steps, peak_lr=1.5e-3)
    return centred(vae.eval(), drawn[:512])


def autoencoder_pictures(work: Path) -> np.ndarray:
    """[N,64,64,3] uint8: two thirds clutter, one third scenes."""
    file = work / "autoencoder_pictures.npy"
    if not file.exists():
        rng = Random(SEED + 1)
        pictures = [clutter(rng) if k % 3 else draw(random_scene(rng)) for k in range(AUTOENCODER_PICTURES)]
        np.save(file, np.stack([np.asarray(p) for p in pictures]))
    return np.load(file)


def recoloured(pictures: np.ndarray) -> torch.Tensor:
    """[B,3,64,64] in [-1,1]: at random mirrored, with channels swapped or inverted, so that every colour is met."""
    pixels = to_pixels(pictures)
    if torch.rand(()) < 0.5:
        pixels = pixels.flip(3)
    if torch.rand(()) < 0.5:
        pixels = pixels[:, torch.randperm(3)]
    if torch.rand(()) < 0.25:
        pixels = -pixels
    return pixels.contiguous(memory_format=torch.channels_last)


def to_pixels(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [B,H,W,3] -> float [B,3,H,W] in [-1,1]."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def centred(vae: AutoencoderKL, pictures: np.ndarray) -> AutoencoderKL:
    """The same autoencoder with its latents' channel means and relative scales moved into the two 1x1 convolutions."""
    latents = vae.encode(to_pixels(pictures)).latent_dist.mean
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    whole = std.square().mean().sqrt()
    gain = whole / std
    before, after, channels = vae.quant_conv, vae.post_quant_conv, networks.LATENT_CHANNELS
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight /= gain[None, :, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) * gain
    before.weight[:channels] *= gain[:, None, None, None]
    before.bias[channels:] += 2 * gain.log()  # the second half is the log of the variance
    vae.register_to_config(scaling_factor=round(1 / whole.item(), 5))
    return vae


def sharpen(work: Path, vae: AutoencoderKL, steps: int, batch: int = 16) -> AutoencoderKL:
    """The autoencoder after the decoder alone has learnt on: latents mean what they meant, pictures get crisper.

    A little noise on the latents makes it forgive the denoiser's small errors.
    """
    net = nn.ModuleList([vae.post_quant_conv, vae.decoder])
    average = nn.ModuleList([networks.autoencoder().post_quant_conv, networks.autoencoder().decoder])
    average.load_state_dict(net.state_dict())
    drawn = autoencoder_pictures(work)
    vae.requires_grad_(False)
    net.requires_grad_(True)

    def loss_of(step: int) -> torch.Tensor:
        pixels = recoloured(drawn[torch.randint(len(drawn), (batch,)).numpy()])
        with half_precision():
            latents = vae.encode(pixels).latent_dist.mean
            latents = latents + 0.05 / vae.config.scaling_factor * torch.rand(batch, 1, 1, 1) * torch.randn_like(latents)
            wrong = vae.decode(latents).sample.float() - pixels
        return wrong.abs().mean() + wrong.square().mean()

    train(work / "decoder.pt", net, average, loss_of, steps, peak_lr=1e-3)
    net.load_state_dict(average.state_dict())
    return vae.eval()


# --- denoiser and text encoder ---------------------------------------------------------------------------------------


def drawn_latents(work: Path, vae: AutoencoderKL) -> list[tuple[list, torch.Tensor]]:
    """Groups of one size each: their scenes and latents [N,4,h,w] of about unit variance, encoded once."""
    data = []
    for which, (width, height) in enumerate(ASPECTS):
        rng = Random(SEED + 10 + which)
        scenes = [random_scene(rng, width, height) for _ in range(PICTURES[which])]
        data.append((scenes, encoded(work / f"latents_{width}x{height}.pt", scenes, vae)))
    rng = Random(SEED + 20)
    creatures = [random_creature(rng) for _ in range(CREATURES)]
    data.append((creatures, encoded(work / "latents_creatures.pt", creatures, vae)))
    return data


@torch.no_grad()
def encoded(file: Path, scenes: list, vae: AutoencoderKL) -> torch.Tensor:
    if not file.exists():
        parts = []
        for start in range(0, len(scenes), 100):
            pixels = to_pixels(np.stack([np.asarray(draw(s)) for s in scenes[start : start + 100]]))
            with half_precision():
                parts.append((vae.encode(pixels).latent_dist.mean.float() * vae.config.scaling_factor).half())
        save_whole(torch.cat(parts), file)
        print(f"drew and encoded {len(scenes)} pictures: {file.stem}", flush=True)
    return torch.load(file, weights_only=True)


def timesteps(batch: int) -> torch.Tensor:
    """[B] in 0..999, half of them among the noisiest 400.

    Measured on rings and crosses: a wrong shape in the caption costs 0.13 to 0.20 of the loss there, below t = 500 next to nothing.
    """
    return torch.where(torch.rand(batch) < 0.5, torch.randint(1000, (batch,)), torch.randint(600, 1000, (batch,)))


class Painter(nn.Module):
    """Denoiser and text encoder, trained as one."""

    def __init__(self, words):
        super().__init__()
        self.unet = networks.denoiser()
        self.text = networks.text_encoder(words)


def train_denoiser(work: Path, words, data, steps: int, batch: int, peak_lr: float):
    """The averaged denoiser and text encoder."""
    torch.manual_seed(SEED)
    net = Painter(words).to(memory_format=torch.channels_last)
    average = copy_of(lambda: Painter(words), net)
    noise_law = networks.scheduler()
    shares = torch.tensor([float(n) for n in (*PICTURES, CREATURES)])

    def loss_of(step: int) -> torch.Tensor:
        scenes, latents = data[int(torch.multinomial(shares, 1))]
        chosen = torch.randint(len(scenes), (batch,))
        clean = latents[chosen].float().contiguous(memory_format=torch.channels_last)
        rng = Random(SEED + step)
        texts = ["" if rng.random() < 0.1 else caption(scenes[k], rng) for k in chosen.tolist()]
        ids = words(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        noise = torch.randn_like(clean)
        when = timesteps(batch)
        with half_precision():
            told = net.text(ids).last_hidden_state
            guess = net.unet(noise_law.add_noise(clean, noise, when), when, told).sample
        return (guess.float() - noise_law.get_velocity(clean, noise, when)).square().mean()

    trained = train(work / "denoiser.pt", net, average, loss_of, steps, peak_lr).eval()
    return trained.unet, trained.text


if __name__ == "__main__":
    main()
