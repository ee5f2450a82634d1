"""The card and the file's metadata: complete, honest, and without anything of this computer."""

import ast
import hashlib
import inspect
import json
import struct

import numpy as np
import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import load, save

from tests.hub.conftest import finished_run, some_token, train_config
from training.config import AdapterPart, DataPart, DatasetUse, ModelPart, SamplePart
from training.formats.modelspec import modelspec_metadata, scrub, stamp_hash, tensor_hash
from training.hub.card import markdown, model_card, split_card
from training.registry import get

SPEC = get("families", "sd15").SPEC


def test_the_front_matter_is_complete(run):
    meta, body = split_card(model_card(run, run.config(), SPEC, repo_id="alice/my-cat"))
    assert meta == {
        "license": "creativeml-openrail-m",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "base_model": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "base_model_relation": "adapter",
        "instance_prompt": "zibbo",
        "tags": ["text-to-image", "diffusers", "lora", "template:sd-lora", "stable-diffusion", "stable-diffusion-diffusers"],
        "widget": [
            {"text": "zibbo on a sofa", "output": {"url": "samples/000020_1.webp"}},
            {"text": "a *bold* dog", "output": {"url": "samples/000020_2.webp"}},
        ],
    }
    assert "<Gallery />" in body and 'load_lora_weights("alice/my-cat", weight_name="my cat.safetensors")' in body
    assert "| Adapter | lora, rank 4, alpha 8, attention |" in body


def test_what_was_chosen_by_hand_is_told_and_in_the_lines_that_draw(run):
    base = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    adapter = AdapterPart(type="tlora", rank=4, alpha=8, blocks="no_text", least_rank=2, rank_power=1.5)

    def body(**model):
        return model_card(run, train_config(adapter=adapter, model=ModelPart(family="sd15", source=base, **model)), SPEC, repo_id="alice/my-cat")

    assert "| Adapter | tlora, rank 4, alpha 8, attention, blocks: All but text, at least 2 of the ranks, power 1.5 |" in body()
    assert "Predicts" not in body() and "pipeline.scheduler" not in body()
    told = body(prediction="v_prediction", zero_terminal_snr="on")
    assert "| Predicts | the velocity, up to pure noise |" in told
    line = 'pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")'
    assert told.index("from_pretrained(") < told.index("from diffusers import DDIMScheduler\n" + line) < told.index("load_lora_weights(")
    told = body(prediction="epsilon", zero_terminal_snr="off")
    assert 'type(pipeline.scheduler).from_config(pipeline.scheduler.config, prediction_type="epsilon", rescale_betas_zero_snr=False)' in told
    assert "| Predicts | the noise, not up to pure noise |" in told


def test_a_pipeline_that_diffusers_lacks_is_imported_from_where_it_is(run):
    spec = get("families", "omnigen2").SPEC
    body = split_card(model_card(run, run.config(), spec, repo_id="alice/my-cat"))[1]
    assert "AutoPipeline" not in body and "AUTOMATIC1111" not in body
    assert "from omnigen2.pipelines.omnigen2.pipeline_omnigen2 import OmniGen2Pipeline\n" in body
    assert "torch_dtype=torch.bfloat16, trust_remote_code=True" in body
    assert "[VectorSpaceLab/OmniGen2](https://github.com/VectorSpaceLab/OmniGen2)" in body and "`my cat-diffusers.safetensors` is for OmniGen2's pipeline. `my cat-comfyui.safetensors` is for ComfyUI." in body


def test_a_pipeline_that_diffusers_has_in_blocks_alone_is_loaded_in_its_own_way(run):
    body = split_card(model_card(run, run.config(), get("families", "anima").SPEC, repo_id="alice/my-cat"))[1]
    assert "from diffusers import ModularPipeline\n" in body and "DiffusionPipeline" not in body
    lines = body.splitlines()
    at = lines.index("pipeline.load_components(torch_dtype=torch.bfloat16)")
    assert lines[at - 1].startswith("pipeline = ModularPipeline.from_pretrained(") and "dtype" not in lines[at - 1] and lines[at + 1] == 'pipeline.to("cuda")'
    assert 'pipeline.load_lora_weights("alice/my-cat", weight_name="my cat.safetensors")' in body and "torchvision" in body
    assert any(line.startswith("image = pipeline(prompt=") and line.endswith(', output="images")[0]') for line in lines)


def test_a_base_model_that_is_only_learnt_on_names_the_one_to_draw_with(run):
    body = split_card(model_card(run, run.config(), get("families", "krea2").SPEC, repo_id="alice/my-cat"))[1]
    assert "load that in its place, and draw with `num_inference_steps=8, guidance_scale=0.0`" in body


def test_chosen_samples_and_a_checkpoint_are_what_the_card_shows(run):
    meta, body = split_card(model_card(run, run.config(), SPEC, checkpoint=10, samples=["samples/000010_2.webp"]))
    assert meta["widget"] == [{"text": "a *bold* dog", "output": {"url": "samples/000010_2.webp"}}]
    assert "checkpoint of step 10 of 20" in body
    meta, body = split_card(model_card(run, run.config(), SPEC, samples=[]))
    assert "widget" not in meta and "<Gallery />" not in body


def test_a_base_model_that_is_not_on_the_hub_is_not_named_as_if_it_were(home, tmp_path):
    builtin = finished_run(home.outputs, train_config(name="one", model=ModelPart(family="sd15", source="builtin")))
    meta, body = split_card(model_card(builtin, builtin.config(), SPEC))
    assert "base_model" not in meta and meta["base_model_relation"] == "adapter" and meta["license"] == "apache-2.0"
    assert "it is not on the Hub" in body
    local = train_config(name="two", model=ModelPart(family="sd15", source=str(tmp_path)))
    card = model_card(builtin, local, SPEC)
    assert "base_model" not in split_card(card)[0] and str(tmp_path) not in card


def test_what_people_type_cannot_become_markup_or_yaml(run):
    evil = ["</script><img src=x onerror=alert(1)>", "`code` **b** [l](http://x) | cell\n# head\n---\nlicense: mit", "key: [unclosed, 'quote \"", "- [ ] &a *a !!tag"]
    config = train_config(trigger="<b>`x`| zib", sample=SamplePart(prompts=tuple(evil)))
    card = model_card(run, config, SPEC, captions=evil)
    meta, body = split_card(card)
    assert meta["license"] == "creativeml-openrail-m" and meta["instance_prompt"] == "<b>`x`| zib"
    outside = body.split("```")[0] + body.split("```")[2]
    assert "<img" not in outside and "\n# head" not in outside and "[l]" not in outside
    assert "`` <b>`x`| zib ``" in body
    assert body.count("```") == 2


@pytest.mark.parametrize("text", ["no: 1", "yes", "null", "1e5", "ünï: 日本", "#x", "@at", "a: b: c", "\ttab", "…", "trailing: "])
def test_any_trigger_survives_the_yaml(run, text):
    config = train_config(trigger=text.strip())
    assert split_card(model_card(run, config, SPEC))[0]["instance_prompt"] == config.trigger


def test_paths_and_tokens_are_scrubbed(run):
    token = some_token()
    config = train_config(
        trigger=token,
        data=DataPart(datasets=(DatasetUse(name="/home/alice smith/secret cats"),)),
        sample=SamplePart(prompts=(f"a cat {token} from /home/alice smith/secret cats/x.png and C:\\Users\\Al\\y.png", "1/2 and/or https://a.b/c/d")),
    )
    card = model_card(run, config, SPEC, captions=config.sample.prompts)
    assert token not in card and "alice smith" not in card and "Users" not in card
    assert scrub("1/2 and/or https://a.b/c/d, /imagine a cat", config) == "1/2 and/or https://a.b/c/d, /imagine a cat"
    assert scrub("see ~/x/y.txt, \\\\nas\\share\\z and /mnt/data/pics/a.png.", config) == "see y.txt, z and a.png."


def test_a_card_that_was_broken_by_hand_is_refused_in_words():
    for text, words in (("# no front matter", "does not begin"), ("---\na: [\n---\n", "not valid YAML"), ("---\n- 1\n---\n", "not a mapping")):
        with pytest.raises(ValueError, match=words):
            split_card(text)
    assert split_card("---\nlicense: mit\n---\nbody\n") == ({"license": "mit"}, "body\n")


def test_the_other_licence_is_named_and_linked(run):
    import dataclasses

    spec = dataclasses.replace(SPEC, licence="other", licence_url="https://example.org/licence")
    meta, _ = split_card(model_card(run, run.config(), spec))
    assert (meta["license"], meta["license_name"], meta["license_link"]) == ("other", "stable-diffusion-1.5-licence", "https://example.org/licence")


def test_a_checkpoint_with_a_licence_of_its_own_passes_that_on(run):
    import dataclasses

    own = {run.config().model.source: ("mit", "https://example.org/mit"), "owner/another": ("gpl-3.0", "https://example.org/gpl")}
    meta, body = split_card(model_card(run, run.config(), dataclasses.replace(SPEC, licences=own)))
    assert meta["license"] == "mit" and "https://example.org/mit" in body and SPEC.licence_url not in body


def test_markdown_shows_text_letter_for_letter():
    assert markdown("a_b *c* <i> & [x](y)\n# z") == "a\\_b \\*c\\* &lt;i&gt; &amp; \\[x\\](y) # z"
    assert [markdown(t) for t in ("# h", "- l", "1. n", "=", "| c", "SD 1.5 top-k")] == ["\\# h", "\\- l", "1\\. n", "\\=", "\\| c", "SD 1.5 top-k"]
    assert markdown("https://x www.y a@b") == "https\\://x www\\.y a\\@b"


def test_the_files_metadata_is_modelspec_and_ss_strings_without_paths():
    config = train_config(model=ModelPart(family="sd15", source="/data/models of mine/sd 15"))
    meta = modelspec_metadata(config, SPEC, prediction_type="v_prediction", pictures=12, date="2026-01-31")
    assert all(isinstance(v, str) and v for v in meta.values()) and "/data" not in json.dumps(meta)
    assert meta["modelspec.sai_model_spec"] == "1.0.1" and meta["modelspec.architecture"] == "stable-diffusion-v1/lora"
    for must in ("implementation", "title", "resolution", "date", "license"):
        assert meta[f"modelspec.{must}"]
    assert (meta["modelspec.prediction_type"], meta["modelspec.trigger_phrase"]) == ("v", "zibbo")
    assert (meta["ss_network_dim"], meta["ss_network_alpha"], meta["ss_steps"], meta["ss_num_train_images"]) == ("4", "8.0", "20", "12")
    assert meta["ss_sd_model_name"] == "sd 15" and "ss_tag_frequency" not in meta
    asked = modelspec_metadata(config, SPEC, prediction_type="", pictures=0, date="2026-01-31", step=10, tag_frequency={"cats": {"cat": 3}})
    assert json.loads(asked["ss_tag_frequency"]) == {"cats": {"cat": 3}} and asked["ss_steps"] == "10"
    assert "ss_num_train_images" not in asked and "modelspec.prediction_type" not in asked


def test_the_stamped_hash_is_that_of_the_tensors_and_changes_nothing_else(tmp_path):
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(3, np.float16)}
    plain = save(tensors, {"modelspec.title": "ünï"})
    stamped = stamp_hash(plain)
    (size,) = struct.unpack("<Q", stamped[:8])
    assert size % 8 == 0
    (tmp_path / "x.safetensors").write_bytes(stamped)
    with safe_open(tmp_path / "x.safetensors", framework="np") as file:
        meta = file.metadata()
    assert meta == {"modelspec.title": "ünï", "modelspec.hash_sha256": "0x" + hashlib.sha256(stamped[8 + size :]).hexdigest()}
    assert tensor_hash(stamped) == tensor_hash(plain) == meta["modelspec.hash_sha256"]
    assert all((load(stamped)[k] == v).all() for k, v in tensors.items())


def test_the_front_matter_is_one_plain_yaml_mapping(run):
    card = model_card(run, run.config(), SPEC)
    head = card.split("---\n")[1]
    assert yaml.safe_load(head) == split_card(card)[0] and "!!" not in head and "&id" not in head


def test_a_card_for_video_says_so_and_saves_a_clip(run):
    from training.families.wan21 import SPEC as VIDEO

    config = run.config().model_copy(update={"sample": run.config().sample.model_copy(update={"frames": 33, "fps": 16.0})})
    meta, body = split_card(model_card(run, config, VIDEO))
    assert meta["pipeline_tag"] == "text-to-video" and "text-to-image" not in meta["tags"] and meta["license"] == "apache-2.0"
    assert "num_frames=33" in body and "export_to_video" in body and "images[0]" not in body
    python = body.partition("```python\n")[2].partition("```")[0]
    compile(python, "card", "exec")


GIVEN = {"flux2": "image", "flux2_klein": "image", "flux1_kontext": "image", "qwen_image_edit": "image", "qwen_image21": "image", "omnigen2": "input_images"}


@pytest.mark.slow
@pytest.mark.parametrize(("id", "task"), [*((id, "image-to-image") for id in GIVEN), ("wan21_i2v", "image-to-video"), ("wan22_i2v_a14b", "image-to-video"), ("flux2", "text-to-image"), ("wan21", "text-to-video")])
def test_the_cards_code_calls_the_pipeline_as_it_wants_to_be_called(run, id, task):
    import diffusers

    from training.models.omnigen2 import pipeline as omnigen2

    spec, config = get("families", id).SPEC, run.config()
    objective = "edit" if task == "image-to-image" else "images"
    config = config.model_copy(update={"model": ModelPart(family=id, source=spec.default_source), "loss": config.loss.model_copy(update={"objective": objective})})
    meta, body = split_card(model_card(run, config, spec))
    assert meta["pipeline_tag"] == meta["tags"][0] == task and ("picture before" in body) == (objective == "edit")
    python = body.partition("```python\n")[2].partition("```")[0]
    call = next(n for n in ast.walk(ast.parse(python)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "pipeline")
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    for name in (spec.pipeline, *spec.other_pipelines):
        cls = getattr(omnigen2 if spec.pipeline_module else diffusers, name)
        inspect.signature(cls.__call__).bind(None, *call.args, **given)
    wanted = GIVEN[id] if objective == "edit" else "image" if task == "image-to-video" else None
    assert not call.args and given["prompt"] == "'zibbo on a sofa'" and set(given) & {"image", "input_images"} == ({wanted} if wanted else set())
    assert not wanted or ("import load_image" in python and given[wanted].startswith("[") == (id == "omnigen2"))
