"""Job files of other trainers: every key is told, what it means holds here, and tokens stay out.

others.jsonl: keys and values of public examples of five programs, without their words.
"""

from __future__ import annotations

import json
import random

import pytest
import yaml

from tests import tiny
from tests.plan.test_presets import LAPTOP
from training import jobfile, registry
from training.config import TrainConfig
from training.home import REPO
from training.outside import read_text
from training.plan import draught, translating
from training.plan.presets import setting_paths

EXAMPLES = [json.loads(line) for line in read_text(REPO / "tests/plan/others.jsonl", 200_000).splitlines()]
TOKEN = "hf_" + "a1B2" * 8
KNOWN = {"ai-toolkit": 7, "kohya": 7, "OneTrainer": 6, "diffusion-pipe": 4, "SimpleTuner": 6}
GUI = {
    "LoRA_type": "Standard", "network_dim": 32, "network_alpha": 16, "pretrained_model_name_or_path": "stabilityai/stable-diffusion-xl-base-1.0", "sdxl": True, "v2": False,
    "max_resolution": "1024,1024", "lr_scheduler": "cosine", "learning_rate": 1e-4, "unet_lr": 2e-4, "text_encoder_lr": 0, "optimizer": "AdamW8bit",
}  # fmt: skip


def written(tmp_path, data: dict, name: str = "job.json"):
    path = tmp_path / name
    path.write_text(yaml.safe_dump(data) if name.endswith("yaml") else json.dumps(data), encoding="utf-8")
    return path


def read(tmp_path, data: dict, **more):
    return translating.read(written(tmp_path, data), **more)


def keys_of(data) -> set[str]:
    """Every name of a value in a file, however deep."""
    if isinstance(data, dict):
        return {str(k).lstrip("-") for k, v in data.items() if not isinstance(v, dict) or not v} | {k for v in data.values() for k in keys_of(v)}
    return {k for v in data if isinstance(v, dict | list) for k in keys_of(v)} if isinstance(data, list) else set()


def told(made) -> str:
    return "\n".join(line for _, lines in translating.told(made) for line in lines)


@pytest.mark.parametrize("example", EXAMPLES, ids=[e["from"].rpartition("/")[2] for e in EXAMPLES])
def test_every_key_of_a_public_example_is_told_and_what_was_taken_holds(example, tmp_path):
    made = read(tmp_path, example["holds"])
    said = told(made) + " ".join(d.path for d in made.datasets)
    of_lists = {"datasets", "directory", "subsets", "process", "concepts", "samples"}  # said by what is in them
    assert {k for k in keys_of(example["holds"]) if k not in said} <= of_lists | {"prompt", "seed", "width", "height", "neg", "ctrl_img"}
    assert set(made.settings) <= {*setting_paths(), "epochs"}
    assert {u.key.rpartition(".")[2] for u in made.unknown} <= {"llama_model_path"}, "a key that public examples have"
    assert all(w.why for w in (*made.without, *made.idle))
    data = {"name": "x", "model": {"family": "any", "source": "any"}, "data": {"datasets": [{"name": "x"}]}, "steps": 10**6}
    for path, value in made.settings.items():
        data = translating._with(data, path, value) if path != "epochs" else data
    TrainConfig.model_validate(data)


def test_there_are_examples_of_each_program(tmp_path):
    found = [read(tmp_path, e["holds"]).program for e in EXAMPLES]
    assert {p: found.count(p) for p in found} == KNOWN
    assert set(KNOWN) == {p.module.TITLE for p in registry.find("foreign").values()}
    for example in EXAMPLES:
        assert sum(p.module.recognises(example["holds"]) for p in registry.find("foreign").values()) == 1, example["from"]


def test_kohya_means_here_what_it_means_there(tmp_path):
    made = read(tmp_path, GUI | {"max_train_epochs": 12, "lr_warmup": 10, "min_snr_gamma": 5, "shuffle_caption": False, "keep_tokens": 2, "bucket_no_upscale": True, "max_timestep": 900})
    s = made.settings
    assert (s["adapter.rank"], s["adapter.alpha"], s["adapter.type"], s["data.resolutions"]) == (32, 16.0, "lora", [1024])
    assert s["optimizer.learning_rate"] == 2e-4 and s["adapter.text_encoder"] is False, "unet_lr goes before learning_rate; text_encoder_lr 0 is off"
    assert s["epochs"] == 12 and "steps" not in s and "optimizer.warmup_steps" not in s
    assert s["data.upscale"] is False and s["loss.timestep_max"] == 0.9 and s["loss.min_snr_gamma"] == 5 and "data.keep_tags" not in s
    assert made.preset == "sdxl-character" and s["model.family"] == "sdxl"
    assert any(w.key == "lr_warmup" and "10%" in w.why for w in made.without)
    more = read(tmp_path, GUI | {"max_train_steps": 2000, "lr_warmup": 10, "epoch": 3}).settings
    assert (more["steps"], more["optimizer.warmup_steps"]) == (2000, 200) and "epochs" not in more, "percent of the steps"


def test_kohyas_own_defaults_hold_where_its_file_is_silent(tmp_path):
    made = read(tmp_path, {"pretrained_model_name_or_path": "black-forest-labs/FLUX.1-dev", "network_module": "networks.lora_flux", "network_dim": 8, "lr_warmup_steps": 100})
    assert made.settings["adapter.alpha"] == 1 and made.settings["optimizer.schedule"] == "constant", "alpha is 1 there, and would be the preset's here"
    assert all(t.presumed for t in made.taken if t.path in ("adapter.alpha", "optimizer.schedule"))
    assert "optimizer.warmup_steps" not in made.settings, "its constant schedule has no warm-up"
    assert made.settings["model.family"] == "flux1"


def test_kohyas_network_and_optimizer_arguments_are_read_one_by_one(tmp_path):
    (tmp_path / "job.toml").write_text(
        '[a]\npretrained_model_name_or_path = "me/my-xl"\nsdxl = true\nnetwork_module = "lycoris.kohya"\nnetwork_args = ["algo=lokr", "factor=8", "conv_dim=4", "odd=1"]\n'
        '[b]\noptimizer_type = "Prodigy"\noptimizer_args = ["d_coef=2", "betas=0.9,0.99", "decouple=True", "growth_rate=1.02", "weight_decay=0.1"]\nlr_scheduler = "cosine_with_restarts"\nlr_scheduler_num_cycles = 4\n',
        encoding="utf-8",
    )
    made = translating.read(tmp_path / "job.toml")
    s = made.settings
    assert (s["adapter.type"], s["adapter.factor"], s["adapter.targets"], s["model.source"]) == ("lokr", 8, "all", "me/my-xl")
    assert (s["optimizer.type"], s["optimizer.options"], s["optimizer.betas"], s["optimizer.weight_decay"]) == ("prodigy", {"d_coef": 2}, [0.9, 0.99], 0.1)
    assert (s["optimizer.schedule"], s["optimizer.schedule_cycles"]) == ("cosine_restarts", 4)
    assert {"network_args.odd", "optimizer_args.growth_rate"} <= {w.key for w in made.without}


def test_kohyas_dataset_file_gives_folders_with_repeats(tmp_path):
    made = read(tmp_path, {"general": {"flip_aug": True}, "datasets": [{"resolution": [768, 768], "subsets": [{"image_dir": "/a", "num_repeats": 10, "class_tokens": "dog"}, {"image_dir": "/b", "is_reg": True}]}]})
    assert [(d.path, d.repeats, d.prior) for d in made.datasets] == [("/a", 10, False), ("/b", 1, True)]
    assert made.settings["data.flip"] is True and made.settings["data.resolutions"] == [768]
    assert any("class_tokens" in w.key for w in made.without)


def test_onetrainer_means_here_what_it_means_there(tmp_path):
    data = {"training_method": "LORA", "model_type": "FLUX_DEV_1", "base_model_name": "black-forest-labs/FLUX.1-dev", "timestep_distribution": "LOGIT_NORMAL", "noising_weight": 0.5, "noising_bias": 0.2, "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 4.0}
    s = read(tmp_path, data).settings
    assert (s["loss.timestep_law"], s["loss.timestep_std"], s["loss.timestep_mean"], s["loss.min_snr_gamma"]) == ("logit_normal", 1.5, 0.2, 4.0)
    assert (s["adapter.rank"], s["adapter.alpha"], s["epochs"], s["optimizer.warmup_steps"]) == (16, 1.0, 100, 200), "its defaults"
    made = read(tmp_path, data | {"sample_after": 5, "sample_after_unit": "EPOCH", "loss_weight_fn": "P2", "concepts": [{"path": "/cats", "balancing": 3.0, "type": "PRIOR_PREDICTION"}]})
    assert made.datasets[0] == translating.Pictures("/cats", 3, 1.0, True)
    assert {"sample_after", "loss_weight_fn"} <= {w.key for w in made.without}


def test_onetrainers_concepts_are_read_from_the_file_that_it_names(tmp_path, home):
    from tests.data.make import write
    from training.plan import draught

    write(tmp_path / "cats" / "a.png", 1), write(tmp_path / "cats" / "more" / "b.png", 2), write(tmp_path / "dogs" / "c.png", 3)
    concepts = [
        {"path": str(tmp_path / "cats"), "balancing": 0.5, "include_subdirectories": True, "text": {"prompt_source": "filename"}},
        {"path": str(tmp_path / "dogs"), "balancing": 2, "type": "PRIOR_PREDICTION", "loss_weight": 0.25, "image": {}},
        {"path": "/off", "enabled": False, "text": {}}, {"path": "/held", "type": "VALIDATION", "text": {}}, {"path": "/old", "validation_concept": True, "text": {}},
        {"path": "/few", "balancing": 40, "balancing_strategy": "SAMPLES", "text": {}},
    ]  # fmt: skip
    (tmp_path / "training_concepts").mkdir()
    (tmp_path / "training_presets").mkdir()
    (tmp_path / "training_concepts" / "concepts.json").write_text(json.dumps(concepts))
    data = {"training_method": "LORA", "model_type": "FLUX_DEV_1", "concept_file_name": "training_concepts/concepts.json", "sample_definition_file_name": "gone.json"}
    made = read(tmp_path / "training_presets", data)
    assert [(d.path, d.repeats, d.weight, d.prior) for d in made.datasets] == [(str(tmp_path / "cats"), 1, 1, False), (str(tmp_path / "dogs"), 4, 0.25, True), ("/few", 2, 1, False)]
    assert [row["name"] for row in draught.folders(made, home)] == [str(tmp_path / "cats"), str(tmp_path / "cats" / "more"), str(tmp_path / "dogs")]
    why = {w.key: w.why for w in made.without}
    assert set(why) >= {"concepts.0.text.prompt_source", "concepts.3.path", "concepts.4.path", "concepts.5.balancing", "sample_definition_file_name"} and "concept_file_name" not in why


def test_diffusion_pipe_and_simpletuner_set_alpha_to_the_rank(tmp_path):
    pipe = {"micro_batch_size_per_gpu": 2, "model": {"type": "qwen_image", "diffusers_path": "Qwen/Qwen-Image", "dtype": "bfloat16"}, "adapter": {"type": "lora", "rank": 24}, "optimizer": {"type": "AdamW8bitKahan", "lr": 2e-5}}
    s = read(tmp_path, pipe).settings
    assert (s["adapter.alpha"], s["data.batch_size"], s["optimizer.type"], s["model.family"]) == (24, 2, "adamw8bit", "qwen_image")
    tuner = {"--model_family": "z-image", "--model_type": "lora", "--lora_rank": "24", "--learning_rate": "1e-4", "--validation_resolution": "832x480"}
    s = read(tmp_path, tuner).settings
    assert (s["adapter.alpha"], s["adapter.rank"], s["model.family"], s["sample.width"], s["sample.height"]) == (24, 24, "z_image", 832, 480)


def test_a_base_model_that_easel_lacks_or_another_version_of_one_is_not_taken_for_one_it_has(tmp_path):
    job = lambda **model: {"job": "extension", "config": {"name": "x", "process": [{"type": "sd_trainer", "model": model}]}}
    for model in ({"arch": "hidream", "name_or_path": "HiDream-ai/HiDream-I1-Full"}, {"arch": "qwen_image_layered", "name_or_path": "Qwen/Qwen-Image-Layered"}):
        made = read(tmp_path, job(**model))
        assert made.preset == "" and "model.source" not in made.settings and "is no model family of Easel" in told(made)
    klein = read(tmp_path, {"training_method": "LORA", "model_type": "FLUX_2", "base_model_name": "black-forest-labs/FLUX.2-klein-base-9B"})
    assert klein.settings["model.family"] == "flux2_klein"
    away = read(tmp_path, job(arch="flux", name_or_path="/nowhere/flux1-dev.safetensors"))
    assert away.settings["model.source"] == "black-forest-labs/FLUX.1-dev" and "no such file or folder on this computer" in told(away)
    (tmp_path / "model").mkdir()
    here = job(arch="flux", name_or_path=str(tmp_path / "model"))
    assert read(tmp_path, here).settings["model.source"] == str((tmp_path / "model").resolve())
    assert read(tmp_path, here, local=False).settings["model.source"] == "black-forest-labs/FLUX.1-dev", "nobody elsewhere learns what is on this disk"


def test_tokens_are_neither_taken_over_nor_shown(tmp_path):
    made = read(tmp_path, GUI | {"huggingface_token": TOKEN, "wandb_api_key": "k" * 40, "additional_parameters": f"--huggingface_token {TOKEN}", "odd": TOKEN, "keep_tokens": 3, "shuffle_caption": True})
    assert made.secrets == ("huggingface_token", "wandb_api_key") and TOKEN not in told(made) and "k" * 40 not in told(made)
    assert TOKEN not in repr(made) and made.settings["data.keep_tags"] == 3
    assert read(tmp_path, GUI | {"wandb_api_key": ""}).secrets == ()


def test_a_value_that_our_config_refuses_is_told_with_our_sentence(tmp_path):
    made = read(tmp_path, GUI | {"network_dim": 100_000, "noise_offset": "much", "lr_scheduler": "adafactor", "optimizer": "DAdaptAdam", "nobody_knows": 1})
    said = {w.key: w.why for w in made.without}
    assert "less than or equal to 1024" in said["network_dim"] and "is not a number" in said["noise_offset"]
    assert "no schedule" in said["lr_scheduler"] and "no optimizer 'DAdaptAdam'" in said["optimizer"]
    assert [u.key for u in made.unknown] == ["nobody_knows"] and "adapter.rank" not in made.settings


@pytest.mark.slow
def test_what_no_program_writes_is_a_sentence_and_never_a_crash(tmp_path):
    with pytest.raises(ValueError, match="is no job file that is known; its first keys are a"):
        read(tmp_path, {"a": 1})
    with pytest.raises(ValueError, match="ends in .exe"):
        translating.read(written(tmp_path, {}, "job.exe"))
    (tmp_path / "bad.toml").write_text("a = = 1", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.toml"):
        translating.read(tmp_path / "bad.toml")
    draw = random.Random(0)
    odd = [None, True, -1, 1e400, "x", [], [1], {}, {"a": {}}, ["x"], [[]], "\0", 10**30]
    for n in range(150):
        data = json.loads(json.dumps(draw.choice(EXAMPLES)["holds"]))
        for part in [data, *(v for v in data.values() if isinstance(v, dict))]:
            for key in draw.sample(sorted(part), min(3, len(part))):
                part[key] = draw.choice(odd)
        try:
            assert told(read(tmp_path, data)) is not None, n
        except ValueError as error:
            assert str(error)


def test_what_is_said_of_one_dataset_alone_stays_with_it(tmp_path):
    pictures = lambda data: [(d.path, d.repeats, d.resolutions, d.trigger) for d in read(tmp_path, data).datasets]
    process = {"type": "sd_trainer", "trigger_word": "zibbo", "datasets": [{"folder_path": "/a", "resolution": [512]}, {"folder_path": "/b", "resolution": [768, 1024], "trigger_word": "quux", "num_repeats": 2}, {"folder_path": "/c", "trigger_word": "zibbo"}]}
    assert pictures({"job": "extension", "config": {"name": "x", "process": [process]}}) == [("/a", 1, (), ""), ("/b", 2, (768, 1024), "quux"), ("/c", 1, (), "")]
    toml = {"datasets": [{"resolution": 512, "subsets": [{"image_dir": "/a"}]}, {"resolution": [1024, 1024], "subsets": [{"image_dir": "/b", "num_repeats": 3}]}, {"resolution": [512, 512], "subsets": [{"image_dir": "/c"}]}]}
    assert pictures(toml) == [("/a", 1, (), ""), ("/b", 3, (1024,), ""), ("/c", 1, (), "")]
    process["datasets"][1] |= {"resolution": [8], "trigger_word": "a, b"}
    made = read(tmp_path, {"job": "extension", "config": {"name": "x", "process": [process]}})
    assert [d.resolutions for d in made.datasets] == [(), (), ()] and {w.key for w in made.without} >= {"datasets.1.resolution", "datasets.1.trigger_word"}
    pipe = {"directory": [{"path": "/a"}, {"path": "/b", "resolutions": [768]}], "resolutions": [512], "enable_ar_bucket": True}
    assert pictures(pipe) == [("/a", 1, (), ""), ("/b", 1, (768,), "")]


def test_a_folder_of_another_computer_is_the_dataset_here_that_is_called_like_it(home, tmp_path):
    from training.data import datasets

    tiny.pictures(datasets.create(home, "my cat").path, 2)
    rows = draught.folders(translating.Imported("x", {}, datasets=(translating.Pictures("/mnt/d/my cat", 4, resolutions=(64,)), translating.Pictures("D:\\pics\\unknown"))), home, local=False)
    assert rows == [{"name": datasets.list_datasets(home)[0].name, "repeats": 4, "weight": 1.0, "prior": False, "resolutions": (64,), "trigger": ""}]


def test_a_job_is_made_of_it_that_train_takes(home, tmp_path):
    for name in ("10_zibbo dog", "2_other"):
        tiny.pictures(tmp_path / "pics" / name, 4)
    file = written(tmp_path, GUI | {"train_data_dir": str(tmp_path / "pics"), "max_train_epochs": 5, "train_batch_size": 2, "output_name": "my dog"})
    config, said = draught.job_of(translating.read(file, home.plugins), home, has=LAPTOP)
    assert [(u.name.rpartition("/")[2], u.repeats) for u in config.data.datasets] == [("10_zibbo dog", 10), ("2_other", 2)]
    assert config.steps == 5 * (4 * 10 + 4 * 2) // 2 and "5 epochs of 24 steps each" in said[0]
    out = tmp_path / "job.yaml"
    out.write_text(jobfile.dump_yaml(config), encoding="utf-8")
    assert jobfile.load_job(out) == config
    with pytest.raises(ValueError, match="name a dataset with --dataset"):
        draught.job_of(read(tmp_path, GUI | {"train_data_dir": "/nowhere"}), home, has=LAPTOP)
