"""The experts implementation "nsp_blocked" against eager, on every MoE architecture of the installed transformers."""

import inspect
import re
from pathlib import Path

import architectures
import expertile
import expertile.transformers as plugin
import pytest
import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(architectures.modules())
# docs/python.md says the same of each; what stands in neither list must fit.
DOES_NOT_FIT = dict(
    re.findall(r"^\| `(\w+)` \| no: ([^|]+?) \|", (ROOT / "docs" / "python.md").read_text("utf-8"), re.MULTILINE)
)
# Float32 sums in another order, through the layers.
BOUND = 2e-5


@pytest.fixture(autouse=True)
def settings():
    plugin.configure(num_nsp=3, packed_chunk_size=8, num_cores=2, dtype=None)


def relative(actual, expected):
    return ((actual.float() - expected.float()).norm() / expected.float().norm()).item()


def output_of(model, ids):
    with torch.no_grad():
        return model(input_ids=ids)[0]


@pytest.mark.parametrize("name", NAMES)
def test_architecture(name):
    model, ids, failures = architectures.small_model(name)
    assert model is not None, failures
    expected = output_of(model, ids)
    if name in DOES_NOT_FIT:
        model.set_experts_implementation("nsp_blocked")
        with pytest.raises(expertile.Error, match="nsp_blocked: .*" + re.escape(DOES_NOT_FIT[name])):
            output_of(model, ids)
        return
    ran = []
    for experts in architectures.experts_of(model, architectures.experts_classes(name)):
        experts.register_forward_hook(lambda module, *_: ran.append(module))
    model.set_experts_implementation("nsp_blocked")
    actual = output_of(model, ids)
    assert ran and all("_expertile_packed" in module.__dict__ for module in ran)
    assert relative(actual, expected) < BOUND
    assert not torch.equal(actual, torch.zeros_like(actual))
    # One answer: another N, chunk size and number of workers give the same bits.
    plugin.configure(num_nsp=None, packed_chunk_size=256, num_cores=1)
    assert torch.equal(output_of(model, ids), actual)


def qwen3_moe(**changes):
    config = transformers.Qwen3MoeConfig(
        vocab_size=160, hidden_size=64, moe_intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, num_experts=8, num_experts_per_tok=3, **changes
    )  # fmt: skip
    torch.manual_seed(2)
    return transformers.Qwen3MoeForCausalLM(config).eval()


IDS = torch.arange(3, 43)[None]


def test_from_pretrained(tmp_path):
    qwen3_moe().save_pretrained(tmp_path)
    eager = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, experts_implementation="eager")
    ours = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, experts_implementation="nsp_blocked")
    assert relative(output_of(ours, IDS), output_of(eager, IDS)) < BOUND
    with torch.no_grad():
        assert ours.generate(IDS, max_new_tokens=8, do_sample=False).tolist() == eager.generate(IDS, max_new_tokens=8, do_sample=False).tolist()


def test_bfloat16():
    model = qwen3_moe().to(torch.bfloat16)
    model.set_experts_implementation("eager")
    expected = output_of(qwen3_moe().to(torch.bfloat16).float(), IDS)
    errors = {}
    for name in ("eager", "nsp_blocked"):
        model.set_experts_implementation(name)
        actual = output_of(model, IDS)
        assert actual.dtype == torch.bfloat16
        errors[name] = relative(actual, expected)
    assert errors["nsp_blocked"] < 3e-2 and errors["nsp_blocked"] < 1.5 * errors["eager"]


def test_changed_weights_are_packed_again():
    model = qwen3_moe()
    model.set_experts_implementation("nsp_blocked")
    before = output_of(model, IDS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "experts" in name:
                parameter.mul_(1.5)
    actual = output_of(model, IDS)
    model.set_experts_implementation("eager")
    assert relative(actual, before) > 1e-3 and relative(actual, output_of(model, IDS)) < BOUND


def test_no_gradient_is_better_than_a_wrong_one():
    model = qwen3_moe()
    model.set_experts_implementation("nsp_blocked")
    loss = model(input_ids=IDS, labels=IDS).loss
    with pytest.raises(expertile.Error, match="no gradient"):
        loss.backward()


def test_moe_takes_torch_tensors():
    torch.manual_seed(3)
    gate_up, down = torch.randn(6, 80, 64), torch.randn(6, 64, 40)
    hidden, weights = torch.randn(30, 64), torch.rand(30, 2)
    ids = torch.stack([torch.randperm(6)[:2] for _ in range(30)])
    out = expertile.moe(hidden, gate_up, down, ids, weights, num_nsp=3)
    assert isinstance(out, torch.Tensor)
    by_numpy = expertile.moe(hidden.numpy(), gate_up.numpy(), down.numpy(), ids.numpy(), weights.numpy())
    assert (out.numpy() == by_numpy).all()
    low = [tensor.bfloat16() for tensor in (hidden, gate_up, down)]
    out16 = expertile.moe(*low, ids, weights.bfloat16(), dtype="bfloat16")
    assert out16.dtype == torch.bfloat16 and relative(out16, out) < 3e-2
    from expertile.experts import packed_experts

    first = packed_experts(gate_up, down)
    assert packed_experts(gate_up, down) is first
    gate_up.add_(1)
    assert packed_experts(gate_up, down) is not first


def test_the_docs_name_every_architecture():
    """The table was made for the version that it names: other versions may have others."""
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    if f"transformers {transformers.__version__}" not in text:
        pytest.skip(f"docs/python.md is of another version than {transformers.__version__}")
    named = set(re.findall(r"^\| `(\w+)` \| (?:yes \||no: )", text, re.MULTILINE))
    assert named == set(NAMES)


def test_inputs_of_pictures_stay_torch_tensors():
    """As a processor of transformers makes them; positions as transformers' own model has them."""
    model = expertile.AutoModelForImageTextToText.from_pretrained(ROOT / "models" / "tiny-qwen3_vl_moe")
    config = transformers.AutoConfig.from_pretrained(ROOT / "models" / "tiny-qwen3_vl_moe")
    image = config.image_token_id
    ids = torch.tensor([[39, config.vision_start_token_id, *[image] * 6, config.vision_end_token_id, 78, 11]])
    grid = torch.tensor([[1, 4, 6]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "image_grid_thw": grid}
    prepared = model.model.prepare_inputs_for_generation(inputs=inputs, prefill_seq_len=8, batch_size=1)
    positions = prepared["position_ids"]
    assert isinstance(positions, torch.Tensor) and positions.shape == (4, 1, 16) and prepared["input_ids"] is ids
    with torch.device("meta"):
        theirs = transformers.Qwen3VLMoeForConditionalGeneration(config).model
    arguments = {"input_ids": ids, "image_grid_thw": grid, "attention_mask": inputs["attention_mask"]}
    if "mm_token_type_ids" in inspect.signature(theirs.get_rope_index).parameters:
        arguments["mm_token_type_ids"] = (ids == image).int()
    expected, _ = theirs.get_rope_index(**arguments)
    assert torch.equal(positions[1:, :, : ids.shape[1]], expected) and (positions[:, :, ids.shape[1] :] == -1).all()
