"""Generation: the command's text, streams, chat; interruptions leave everything usable."""

import gc
import logging
import os
import signal
import subprocess
import threading
import time

import expertile
import numpy as np
import pytest

PROMPT = "First Citizen:\nBefore we proceed"


def command_text(binary, models, *options):
    done = subprocess.run(
        [binary, "run", models / "tiny-qwen3_moe", "--prompt", PROMPT, "--max-new-tokens", "24", *options],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_text_is_the_commands(binary, models, qwen):
    text = qwen.generate(prompts=[PROMPT], generation_len=24).generated_texts[0]
    assert command_text(binary, models).strip().removeprefix(PROMPT).strip() == text.strip()


def test_batches_give_what_each_gets_alone(qwen):
    prompts = [PROMPT, "ROMEO:", "The angel of the church"]
    together = qwen.generate(prompts=prompts, generation_len=8)
    assert together.generated_ids.shape == (3, 8) and together.batch_size == 2
    for prompt, text in zip(prompts, together.generated_texts):
        assert qwen.generate(prompts=prompt, generation_len=8).generated_texts == [text]
    assert "Performance Stats" in str(together) and together.perf_metrics.total_time > 0


def test_tokenizer_of_the_caller(qwen):
    class Tokenizer:
        def encode(self, text):
            return qwen.tokenizer.encode(text).tolist()

        def decode(self, ids, skip_special_tokens):
            assert skip_special_tokens
            return f"{len(ids)} tokens"

    assert qwen.generate(Tokenizer(), [PROMPT], generation_len=3).generated_texts == ["3 tokens"]


def test_stream(qwen):
    pieces = list(qwen.stream(PROMPT, generation_len=24))
    assert "".join(pieces) == qwen.generate(prompts=[PROMPT], generation_len=24).generated_texts[0]
    assert len(pieces) > 5


def test_iterator_stops_prompts_apart(session, qwen):
    ids = qwen.tokenizer.encode(PROMPT)
    generation = session.generate([ids, ids], max_new_tokens=6, temperature=0.0)
    made = {0: [], 1: []}
    for prompt, token in generation:
        made[prompt].append(token)
        if prompt == 1 and len(made[1]) == 2:
            generation.stop(1)
    result = generation.result()
    assert result["token_ids"] == [made[0], made[1]] and result["finish_reasons"] == ["max_tokens", "stopped"]
    assert made[1] == made[0][:2] and result["statistics"]["new_tokens"] == 8


def test_sampling_is_reproducible(qwen):
    def text(seed):
        return qwen.generate(prompts=[PROMPT], generation_len=16, temperature=1.0, seed=seed).generated_texts[0]

    assert text(1) == text(1) != text(2)
    with pytest.raises(expertile.Error, match="top_p"):
        qwen.generate(prompts=[PROMPT], top_p=2.0)


def test_chat(qwen, models):
    messages = [{"role": "user", "content": "Who art thou?"}]
    reply = qwen.chat(messages, max_tokens=16, temperature=0)
    assert reply["role"] == "assistant" and reply["usage"]["completion_tokens"] <= 16
    streamed = "".join(content for _, content in qwen.chat(messages, max_tokens=16, temperature=0, stream=True))
    assert streamed == reply["content"]
    first = next(iter(qwen.chat(messages, max_tokens=64, stream=True)))
    assert isinstance(first, tuple)
    with pytest.raises(expertile.Error, match="role"):
        qwen.chat([{"role": "wizard", "content": "x"}])
    with pytest.raises(expertile.Error, match="messages: str"):
        qwen.chat(["x"])
    assert qwen.chat(messages, max_tokens=16, temperature=0)["content"] == reply["content"]


def test_images(models, cache):
    model = expertile.AutoModelForImageTextToText.from_pretrained(
        models / "tiny-qwen3_vl_moe", kv_offload=True, attn_implementation="eager"
    )
    paths = model.compile(
        prefill_seq_len=64, ctx_len=512, height=354, width=536, moe_prefill_num_nsp=4, num_cores=2, cache_dir=cache
    )
    assert set(paths) == {"vision_qpc_path", "lang_qpc_path"}
    picture = models / "tiny-qwen3_vl_moe" / "images" / "0.png"
    content = [{"type": "image", "image": str(picture)}, {"type": "text", "text": "Describe the image."}]
    messages = [{"role": "user", "content": content}]
    inputs = model.prepare(messages)
    text = model.generate(inputs, generation_len=40).generated_texts[0]
    assert text == model.chat(messages, temperature=0, max_tokens=40)["content"] and "triangle" in text
    # As a processor of transformers makes them: pixel values, which go through the tower here.
    del inputs["images"]
    assert model.generate(inputs, generation_len=40).generated_texts[0] == text
    with pytest.raises(expertile.Error, match="image_grid_thw"):
        model.generate({"input_ids": [[1]], "pixel_values": inputs["pixel_values"]})
    inputs["image_grid_thw"] = inputs["image_grid_thw"] * [1, 2, 1]
    with pytest.raises(expertile.Error, match="pixel_values"):
        model.generate(inputs)


def test_wrong_types_are_named(qwen):
    for options, message in [({"prompts": [5]}, "prompts: int"), ({"prompts": "x", "generation_len": "3"}, "generation_len: '3'")]:
        with pytest.raises(expertile.Error, match=message):
            qwen.generate(**options)
    assert qwen.tokenizer.decode([5, 6]) == qwen.tokenizer.decode(np.array([5, 6], np.int32))


def test_a_forked_process_goes_on(qwen):
    """The child has no workers of its own, and the parent keeps them."""
    session = qwen.session()
    ids = qwen.tokenizer.encode(PROMPT)
    expected = session.run([(0, ids)]).tobytes()
    session.clear(0)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if session.run([(0, ids)]).tobytes() == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert session.run([(0, ids)]).tobytes() == expected


def test_errors_have_codes(models, tmp_path):
    with pytest.raises(expertile.Error) as refused:
        expertile.Model.load(tmp_path / "nothing")
    assert refused.value.code is expertile.ErrorCode.NOT_FOUND and "nothing" in str(refused.value)
    model = expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe")
    with pytest.raises(TypeError, match="compile"):
        model.generate(prompts=["x"])


@pytest.fixture(scope="module")
def slow(models):
    """A session whose prefill of 4000 tokens takes a while: one token a step, on the reference target."""
    program = expertile.Model.load(models / "tiny-qwen3_moe").compile(None, target="reference", ctx_len=4096, prefill_seq_len=8)
    return expertile.Session(program)


@pytest.fixture
def interruptible():
    """A test run in the background may ignore Ctrl-C."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_a_prefill(slow):
    ids = np.arange(4000) % 1000
    before = slow.run([(0, ids[:5])])
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        slow.run([(0, ids)])
    assert time.monotonic() - start < 5
    assert slow.length(0) == 5
    slow.clear(0)
    assert slow.run([(0, ids[:5])]).tobytes() == before.tobytes()
    slow.clear(0)


def test_cancel_from_another_thread(slow):
    timer = threading.Timer(0.3, slow.cancel)
    timer.start()
    with pytest.raises(expertile.Error, match="cancelled") as stopped:
        slow.run([(0, np.arange(4000) % 1000)])
    assert stopped.value.code is expertile.ErrorCode.CANCELLED and slow.length(0) == 0


def test_gil_is_released(slow):
    counted = 0
    thread = threading.Thread(target=slow.run, args=([(0, np.arange(400) % 1000)],))
    thread.start()
    while thread.is_alive():
        counted += 1
        time.sleep(0.001)
    thread.join()
    slow.clear(0)
    assert counted > 20


def test_threads_share_a_program(qwen):
    """Sessions of one program in several threads at once: each gets its own bits."""
    ids = qwen.tokenizer.encode(PROMPT)
    expected = qwen.session().run([(0, ids)]).tobytes()
    got = []

    def work():
        session = qwen.session()
        for _ in range(5):
            session.clear(0)
            got.append(session.run([(0, ids)]).tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [expected] * 20


def test_exceptions_in_callbacks(models, qwen, session):
    ids = qwen.tokenizer.encode(PROMPT)

    def fail(*_):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        session.evaluate(ids, progress=fail)
    session.clear(0)
    with pytest.raises(ZeroDivisionError):
        expertile.Model.load(models / "tiny-qwen3_moe").compile(fail, ctx_len=64)
    with pytest.raises(ZeroDivisionError):
        qwen.chat([{"role": "user", "content": "x"}], on_delta=fail, max_tokens=4)
    with pytest.raises(ZeroDivisionError):
        for _ in session.generate([ids], 5, temperature=0.0):
            fail()
    session.clear(0)
    assert session.run([(0, ids)]).shape[0] == 1

    def calls_back(*_):
        session.length(0)

    session.clear(0)
    with pytest.raises(expertile.Error, match="in use"):
        session.evaluate(ids, progress=calls_back)


def test_log(models, caplog):
    with caplog.at_level(logging.INFO, logger="expertile"):
        program = expertile.Model.load(models / "tiny-qwen3_moe").compile(None, ctx_len=64)
        expertile.Session(program)
        expertile.Model.load(models / "tiny-qwen3_moe").compile(None, ctx_len=64)
    assert any("tiny-qwen3_moe" in line or "cpu" in line for line in caplog.messages)
    expertile.log.refresh()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_no_leak(models, cache):
    """50 cycles of compile, generate and delete leave memory as it was after the first few."""

    def cycle():
        model = expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-granitemoe")
        model.compile(ctx_len=128, prefill_seq_len=32, num_cores=2, moe_prefill_num_nsp=4, cache_dir=cache)
        model.generate(prompts=["Once"], generation_len=4)
        model.chat([{"role": "user", "content": "x"}], max_tokens=2)
        program = model.model.compile(None, ctx_len=64)
        expertile.Session(program).run([(0, [1, 2, 3])])

    for _ in range(10):
        cycle()
    gc.collect()
    before = resident()
    for _ in range(40):
        cycle()
    gc.collect()
    assert resident() - before < 4 << 20
