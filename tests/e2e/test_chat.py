"""expertile run --chat: replies taken apart, the checkpoint's own sampling, turns that go on from the cache."""

import json
import re
import shutil

import pytest
from cases import ROOT
from forced_reply import force_reply

QWEN = ROOT / "models" / "tiny-qwen3_moe"
MODELS = ["tiny-qwen3_moe", "tiny-gpt_oss", "tiny-granitemoe"]


def ids_of(expertile, model, text):
    return json.loads(expertile("tokenize", ROOT / "models" / model, "--text", text, "--json").stdout)["ids"]


@pytest.fixture
def replying(expertile, tmp_path):
    """A checkpoint that answers any prompt with a text, special tokens and all."""

    def make(model, last_of_prompt, reply):
        chain = ids_of(expertile, model, last_of_prompt)[-1:] + ids_of(expertile, model, reply)
        return force_reply(tmp_path / model, model, chain)

    return make


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def refused(done, *says):
    message = done.stderr.decode()
    assert done.returncode in (1, 2) and done.stdout == b"", (message, done.stdout)
    assert message.startswith("expertile: ") and message.count("\n") == 1, message
    for word in says:
        assert str(word) in message, message


ASK = ["--chat", "--prompt", "Hi", "--no-statistics"]


def test_harmony_shows_the_final_channel(expertile, replying):
    model = replying("tiny-gpt_oss", "<|start|>assistant", "<|channel|>final<|message|> Hello<|return|>")
    assert lines_of(expertile("run", model, *ASK)) == " Hello\n"
    message = json.loads(lines_of(expertile("run", model, *ASK, "--json")))
    assert (message["role"], message["content"], message["finish_reason"]) == ("assistant", " Hello", "stop")
    assert message["usage"]["total_tokens"] == sum(message["usage"][k] for k in ("prompt_tokens", "completion_tokens"))
    raw = lines_of(expertile("run", model, *ASK, "--ignore-eos", "-n", 12))
    assert raw.startswith("<|channel|>final<|message|> Hello")


def test_harmony_keeps_analysis_apart(expertile, replying):
    model = replying("tiny-gpt_oss", "<|start|>assistant", "<|channel|>analysis<|message|>Hm<|return|>")
    assert lines_of(expertile("run", model, *ASK)) == "\n"
    assert lines_of(expertile("run", model, *ASK, "--show-reasoning")) == "Reasoning:\nHm\n"
    message = json.loads(lines_of(expertile("run", model, *ASK, "--json")))
    assert message["content"] is None and message["reasoning_content"] == "Hm"


def test_harmony_calls_a_tool(expertile, replying):
    reply = '<|channel|>commentary to=functions.go<|message|>{}<|call|>'
    model = replying("tiny-gpt_oss", "<|start|>assistant", reply)
    assert lines_of(expertile("run", model, *ASK)) == 'Tool call: go {}\n'
    message = json.loads(lines_of(expertile("run", model, *ASK, "--json")))
    assert message["content"] is None and message["finish_reason"] == "tool_calls"
    call = {"id": "call_0", "type": "function", "function": {"name": "go", "arguments": "{}"}}
    assert message["tool_calls"] == [call]


def test_thoughts_are_kept_apart(expertile, replying):
    model = replying("tiny-qwen3_moe", "\n", "<think>Hm</think>Yes<|im_end|>")
    assert lines_of(expertile("run", model, *ASK)) == "Yes\n"
    assert lines_of(expertile("run", model, *ASK, "--show-reasoning")) == "Reasoning:\nHm\n\nAnswer:\nYes\n"
    message = json.loads(lines_of(expertile("run", model, *ASK, "--json")))
    assert (message["content"], message["reasoning_content"]) == ("Yes", "Hm")


def test_the_prompt_may_open_the_thought(expertile, replying):
    model = replying("tiny-qwen3_moe", "<think>", "Hm</think>Yes<|im_end|>")
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text(template + "<think>")
    message = json.loads(lines_of(expertile("run", model, *ASK, "--json")))
    assert (message["content"], message["reasoning_content"]) == ("Yes", "Hm")
    cut = json.loads(lines_of(expertile("run", model, *ASK, "--json", "-n", 1)))
    assert cut["content"] is None and cut["finish_reason"] == "length" and "Hm".startswith(cut["reasoning_content"])


def test_half_a_character_is_valid_json(expertile, replying):
    vocab = json.loads((QWEN / "tokenizer.json").read_text())["model"]["vocab"]
    model = replying("tiny-qwen3_moe", "\n", "Yes<|im_end|>")
    shutil.rmtree(model)
    newline = ids_of(expertile, "tiny-qwen3_moe", "\n")[-1]
    force_reply(model, "tiny-qwen3_moe", [newline, vocab["Ã"], ids_of(expertile, "tiny-qwen3_moe", "<|im_end|>")[0]])
    assert json.loads(lines_of(expertile("run", model, *ASK, "--json")))["content"] == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("model", MODELS)
def test_every_turn_prefills_what_is_new(expertile, model):
    command = ["run", ROOT / "models" / model, "--chat", "-n", 8]
    done = expertile(*command, stdin="Who art thou?\nAnd thy brother?\nSpeak.\n")
    held = [int(count) for count in re.findall(r"after (\d+) held", done.stderr.decode())]
    computed = [int(count) for count in re.findall(r"prefill: (\d+) tokens", done.stderr.decode())]
    assert len(computed) == 3 and len(held) == 2 and held[0] > 0 and held[1] > held[0]
    answers = lines_of(done).splitlines(keepends=True)
    first = expertile(*command, "--prompt", "Who art thou?")
    assert lines_of(done).startswith(lines_of(first)) and answers


def test_a_context_that_overflows(expertile):
    done = expertile("run", QWEN, "--chat", "--ctx-len", 48, "-n", 8, "--no-statistics", stdin="One.\n" + "Two. " * 40)
    assert done.returncode == 2
    message = done.stderr.decode()
    assert re.fullmatch(r"expertile: conversation: \d+ tokens, ctx_len is 48\n", message), message


def sampling_of(done):
    assert done.returncode == 0, done.stderr
    return re.search(r"sampling: (.*)\n", done.stderr.decode()).group(1)


@pytest.mark.parametrize(
    "config, options, expected",
    [
        ({}, [], "greedy"),
        ({"do_sample": False, "temperature": 0.6}, [], "greedy"),
        ({"do_sample": True}, [], "temperature 1, top_k 50, top_p 1, min_p 0, seed 0"),
        ({"do_sample": True, "top_k": None}, [], "temperature 1, top_k 50, top_p 1, min_p 0, seed 0"),
        (
            {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.05},
            [],
            "temperature 0.6, top_k 20, top_p 0.95, min_p 0, repetition_penalty 1.05, seed 0",
        ),
        (
            {"do_sample": True, "temperature": 0.6, "top_k": 20},
            ["--top-k", 5, "--presence-penalty", 0.5, "--seed", 3],
            "temperature 0.6, top_k 5, top_p 1, min_p 0, presence_penalty 0.5, seed 3",
        ),
        ({"do_sample": True}, ["--temperature", 0], "greedy"),
        ({"repetition_penalty": 1.2}, [], "greedy, repetition_penalty 1.2"),
    ],
)
def test_sampling_as_the_checkpoint_says(expertile, model_copy, config, options, expected):
    (model_copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [4093, 4091], **config}))
    assert sampling_of(expertile("run", model_copy, "--chat", "-p", "Hi", "-n", 4, *options)) == expected
    assert sampling_of(expertile("run", model_copy, "-p", "Hi", "-n", 1)) == "greedy"


def test_sampling_out_of_range(expertile, model_copy):
    refused(expertile("run", QWEN, "-p", "a", "--repetition-penalty", 0), "repetition_penalty", 0)
    refused(expertile("run", QWEN, "-p", "a", "--presence-penalty", 3), "presence_penalty", 3)
    refused(expertile("run", QWEN, "-p", "a", "--frequency-penalty", -3), "frequency_penalty", -3)
    (model_copy / "generation_config.json").write_text('{"do_sample": true, "top_p": 7}')
    refused(expertile("run", model_copy, *ASK), "generation_config.json", "top_p", 7)


def test_where_a_template_may_lie(expertile, model_copy):
    template = (model_copy / "chat_template.jinja").read_text()
    expected = lines_of(expertile("run", model_copy, *ASK, "-n", 8))
    config = json.loads((model_copy / "tokenizer_config.json").read_text())
    config.pop("chat_template")
    (model_copy / "chat_template.jinja").unlink()
    (model_copy / "tokenizer_config.json").write_text(json.dumps(config))
    refused(expertile("run", model_copy, *ASK), "no chat template", model_copy)
    (model_copy / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert lines_of(expertile("run", model_copy, *ASK, "-n", 8)) == expected
    config["chat_template"] = [
        {"name": "tool_use", "template": "{{ raise_exception('tools') }}"},
        {"name": "default", "template": template},
    ]
    (model_copy / "tokenizer_config.json").write_text(json.dumps(config))
    assert lines_of(expertile("run", model_copy, *ASK, "-n", 8)) == expected


def test_a_program_has_its_templates(expertile, model_copy, tmp_path):
    more = model_copy / "additional_chat_templates"
    more.mkdir()
    (more / "tool_use.jinja").write_text("{{ raise_exception('with ' ~ tools | length ~ ' tools') }}")
    done = expertile("compile", model_copy, "--cache-dir", tmp_path / "cache", "--ctx-len", 64)
    program = lines_of(done).split()[-1]
    request = {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function", "function": {"name": "f"}}]}
    for model in (model_copy, program):
        refused(expertile("run", model, "--messages", "-", stdin=json.dumps(request)), "with 1 tools")


def test_template_options(expertile, model_copy):
    (model_copy / "chat_template.jinja").write_text("{{ raise_exception('got ' ~ (x | tojson) ~ (y | tojson)) }}")
    options = ["--template-option", "x=false", "--template-option", "y=high"]
    refused(expertile("run", model_copy, *ASK, *options), 'got false"high"')
    refused(expertile("run", QWEN, *ASK, "--template-option", "x"), "NAME=VALUE")
    refused(expertile("run", QWEN, *ASK, "--template-option", "tools=[]"), "tools")
    refused(expertile("run", QWEN, "-p", "a", *options), "--template-option", "--chat")
    refused(expertile("run", QWEN, "-p", "a", "--json"), "--json", "--chat")
