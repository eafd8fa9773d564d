"""Pictures by the original's names, in chunks that cut them; and what is refused."""

import re

import expertile
import numpy as np
import pytest

PREFILL = 8


@pytest.fixture(scope="module")
def model(models):
    return expertile.QEFFAutoModelForImageTextToText.from_pretrained(models / "tiny-qwen3_vl_moe")


@pytest.fixture(scope="module")
def paths(model, cache):
    common = {"ctx_len": 256, "num_cores": 2, "cache_dir": cache, "progress": False, "height": 64, "width": 96}
    made = model.compile(prefill_seq_len=PREFILL, prefill_only=True, enable_chunking=True, moe_prefill_num_nsp=3, **common)
    return {**made, **model.compile(prefill_seq_len=1, skip_vision=True, **common), **model.compile(**common)}


@pytest.fixture(scope="module")
def inputs(model, models, paths):
    """Of two pictures and text, as a processor makes them."""
    pictures = [{"type": "image", "image": str(models / "tiny-qwen3_vl_moe" / "images" / f"{i}.png")} for i in (0, 1)]
    return model.prepare([{"role": "user", "content": [*pictures, {"type": "text", "text": "Describe the image."}]}])


@pytest.fixture(scope="module")
def vision(paths, inputs):
    session = expertile.QAICInferenceSession(paths["vision_qpc_path"])
    return session.run({name: inputs[name] for name in ("pixel_values", "image_grid_thw")})


def chunks_of(prepared, vision):
    """Steps of PREFILL tokens."""
    ids, positions = prepared["input_ids"], prepared["position_ids"]
    padded = np.pad(ids, ((0, 0), (0, positions.shape[-1] - ids.shape[1])), constant_values=1)
    for first in range(0, positions.shape[-1], PREFILL):
        part = slice(first, first + PREFILL)
        yield {"input_ids": padded[:, part], "position_ids": positions[..., part], **vision}


def test_chunks_and_another_program_give_the_same_bits(model, paths, inputs, vision):
    prepared = model.model.prepare_inputs_for_generation(inputs, PREFILL, 1)
    ids = inputs["input_ids"][0]
    expected = model.session()
    logits = expected.run([(0, ids, inputs["images"])])
    prefill = expertile.QAICInferenceSession(paths["lang_prefill_qpc_path"])
    decode = expertile.QAICInferenceSession(paths["lang_decode_qpc_path"])
    image_idx, state = np.array([[0]]), {}
    for step in chunks_of(prepared, vision):
        outputs = prefill.run({**step, "image_idx": image_idx, **state})
        image_idx = outputs["image_idx_output"]
        assert outputs["vision_embeds_RetainedState"] is vision["vision_embeds"]
        state = {name: outputs[name + "_RetainedState"].copy() for name in prefill.state_names}
    assert image_idx == vision["vision_embeds"].shape[1] == (ids == model.description.image_token_id).sum()
    assert set(outputs) | {"vision_embeds", "deepstack_features"} == set(prefill.output_names)
    position = prepared["position_ids"].max(axis=-1, keepdims=True) + 1
    assert (position[1:] < position[0]).all()  # a picture takes fewer positions than tokens
    for _ in range(3):
        assert outputs["logits"][0, 0].tobytes() == logits[0].tobytes()
        token = int(logits.argmax())
        outputs = decode.run({"input_ids": [[token]], "position_ids": position, **state})
        state = {name: outputs[name + "_RetainedState"] for name in decode.state_names}
        logits = expected.decode([(0, [token])])
        position = position + 1


def test_buffers_stay(model, paths, inputs, vision):
    """What set_buffers() gave counts until something else is given."""
    prepared = model.model.prepare_inputs_for_generation(inputs, PREFILL, 1)
    session = expertile.QAICInferenceSession(paths["lang_prefill_qpc_path"])
    session.skip_buffers(session.state_names)
    session.set_buffers(vision)
    image_idx = np.array([[0]])
    for step in chunks_of(prepared, {}):
        outputs = session.run({**step, "image_idx": image_idx})
        image_idx = outputs["image_idx_output"]
    expected = model.session().run([(0, inputs["input_ids"][0], inputs["images"])])
    assert outputs["logits"][0, 0].tobytes() == expected[0].tobytes()


def test_sizes_of_pictures(model, paths, inputs, vision):
    """The grid is given, or the shape of what is given, or the size that compile() was told."""
    session = expertile.QAICInferenceSession(paths["vision_qpc_path"])
    t, h, w = session.program.grid_of(64, 96)
    pixels = np.random.default_rng(1).random((2 * t * h * w, inputs["pixel_values"].shape[1]), np.float32)
    expected = session.run({"pixel_values": pixels, "image_grid_thw": [[t, h, w]] * 2})
    for given in ({}, {"image_grid_thw": np.zeros((2, t, h, w))}):
        made = session.run({"pixel_values": pixels, **given})
        assert all(made[name].tobytes() == expected[name].tobytes() for name in expected)
    low = session.run({"pixel_values": pixels.astype(np.float16)})
    assert np.allclose(low["vision_embeds"], expected["vision_embeds"], atol=1e-2)
    for given, message in [
        ({"image_grid_thw": [[t, h, w]]}, "image_grid_thw has"),
        ({"image_grid_thw": [[t, h, w], [t, h, w + 2]]}, "values"),
        ({"image_grid_thw": [[1.5, h, w]]}, "expected integers"),
        ({"image_grid_thw": [[t, -h, -w]] * 2}, "patches"),
        ({"pixel_values": pixels[0]}, "pixel_values: shape"),
    ]:
        with pytest.raises(expertile.Error, match=message):
            session.run({"pixel_values": pixels, **given})
    plain = expertile.QAICInferenceSession(str(paths["vision_qpc_path"])[:])
    with pytest.raises(expertile.Error, match="image_grid_thw: missing"):
        expertile.InferenceSession(plain.program).run({"pixel_values": pixels})


def test_refusals_leave_the_session_as_it_was(model, paths, inputs, vision):
    prepared = model.model.prepare_inputs_for_generation(inputs, PREFILL, 1)
    session = expertile.QAICInferenceSession(paths["lang_prefill_qpc_path"])
    step = list(chunks_of(prepared, vision))[1]
    start = step["position_ids"][0, 0, 0]
    first = next(chunks_of(prepared, vision))
    outputs = session.run(first)
    idx = int(outputs["image_idx_output"].item())
    good = {**step, "image_idx": [[idx]]}
    for change, message in [
        ({"image_idx": [[10**6]]}, "vision_embeds: "),
        ({"image_idx": [[-1]]}, "vision_embeds: "),
        ({"image_idx": [0, 1]}, "image_idx: shape"),
        ({"position_ids": step["position_ids"][0]}, "position_ids: expected"),
        ({"position_ids": step["position_ids"] + [[[0]], [[1000]], [[0]], [[0]]]}, "rope_positions: "),
        ({"position_ids": step["position_ids"].astype(float)}, "position_ids: float64"),
        ({"vision_embeds": vision["vision_embeds"][:, :-1]}, "vision_embeds: shape"),
        ({"deepstack_features": vision["deepstack_features"][:1]}, "deepstack features"),
        ({"vision_embeds": vision["vision_embeds"][..., :-1], "deepstack_features": vision["deepstack_features"][..., :-1]},
         "images: "),
    ]:
        with pytest.raises(expertile.Error, match=message):
            session.run({**good, **change})
        assert session.session.length(0) == start, change
    assert np.isfinite(session.run(good)["logits"]).all()


def test_prompts_with_a_picture_each(model, models, paths):
    folder = models / "tiny-qwen3_vl_moe" / "images"
    files = [folder / f"{i}.png" for i in (0, 1)]
    together = model.generate(prompts=["Describe the image.", "Describe the image."], images=files, generation_len=8)
    for file, text in zip(files, together.generated_texts):
        content = [{"type": "image", "image": str(file)}, {"type": "text", "text": "Describe the image."}]
        alone = model.generate(model.prepare([{"role": "user", "content": content}]), generation_len=8)
        assert alone.generated_texts == [text]
    assert model.generate(prompts="Who art thou?", generation_len=4).generated_ids.shape == (1, 4)
    with pytest.raises(expertile.Error, match="images: 1, for 2 prompts"):
        model.generate(prompts=["a", "b"], images=files[0])
    with pytest.raises(expertile.Error, match="inputs: expected"):
        model.generate(images=files)


def test_prepared_inputs(model, inputs):
    """A row of text beside one with pictures, both with padding."""
    ids, S = inputs["input_ids"], inputs["input_ids"].shape[1]
    both = np.concatenate([np.pad(ids, ((0, 0), (3, 0))), np.full((1, S + 3), 7)])
    mask = np.ones_like(both)
    mask[0, :3] = mask[1, 5:] = 0
    given = {**inputs, "input_ids": both, "attention_mask": mask}
    prepared = model.model.prepare_inputs_for_generation(given, prefill_seq_len=16, batch_size=2)
    positions = prepared["position_ids"]
    assert set(prepared) == {"input_ids", "attention_mask", "pixel_values", "position_ids"}
    assert positions.shape == (4, 2, -(-(S + 3) // 16) * 16) and (positions[:, 0, :3] == -1).all()
    alone = model.model.prepare_inputs_for_generation(inputs, prefill_seq_len=1)["position_ids"]
    assert (positions[:, 0, 3 : 3 + S] == alone[:, 0]).all()
    assert (positions[:, 1, :5] == np.arange(5)).all() and (positions[:, 1, 5:] == -1).all()
    for change, message in [
        ({"batch_size": 1}, "batch_size: 1"),
        ({"batch_size": 2, "prefill_seq_len": 0}, "prefill_seq_len: 0"),
        ({"batch_size": 2, "inputs": {**given, "image_grid_thw": inputs["image_grid_thw"][:1]}}, "image"),
    ]:
        with pytest.raises(expertile.Error, match=re.escape(message)):
            model.model.prepare_inputs_for_generation(**{"inputs": given, **change})
