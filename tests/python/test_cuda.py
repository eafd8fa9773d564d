"""The target cuda from Python: skipped, saying why, without a Hopper GPU."""

import expertile
import pytest

PROMPT = "First Citizen:\nBefore we proceed"


@pytest.fixture(scope="module")
def model(models, cache):
    model = expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe")
    try:
        model.compile(target="cuda", prefill_seq_len=128, ctx_len=512, batch_size=2, cache_dir=cache, progress=False)
    except expertile.Error as error:
        if error.code is not expertile.ErrorCode.UNSUPPORTED or not str(error).startswith("cuda: "):
            raise
        pytest.skip(str(error))
    return model


def test_its_own_arithmetic(model):
    assert model.program.options["dtype"] == "bfloat16"


def test_batches_give_what_each_gets_alone(model):
    prompts = [PROMPT, "ROMEO:"]
    together = model.generate(prompts=prompts, generation_len=8)
    for prompt, text in zip(prompts, together.generated_texts):
        assert model.generate(prompts=prompt, generation_len=8).generated_texts == [text]


def test_another_arithmetic_is_refused(models):
    model = expertile.Model.load(models / "tiny-qwen3_moe")
    with pytest.raises(expertile.Error, match="dtype: float32, the target cuda has bfloat16 only"):
        model.compile(None, target="cuda", dtype="float32")
