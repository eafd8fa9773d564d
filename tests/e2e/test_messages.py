"""expertile run --messages: conversations as the OpenAI API writes them, for one reply."""

import base64
import json

import pytest
from cases import ROOT

QWEN = ROOT / "models" / "tiny-qwen3_moe"
VISION = ROOT / "models" / "tiny-qwen3_vl_moe"
PICTURE = VISION / "images" / "1.png"
CAPTION = "Describe the image."


@pytest.fixture
def reply(expertile, tmp_path):
    """The message object that answers a request."""

    def run(model, request, *options):
        (tmp_path / "messages.json").write_text(json.dumps(request))
        done = expertile("run", model, "--messages", tmp_path / "messages.json", "--json", "--no-statistics", *options)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def prompt_of(expertile, model_copy):
    """What a template sees, which an error shows."""

    def run(request, template):
        (model_copy / "chat_template.jinja").write_text("{{ raise_exception(" + template + ") }}")
        done = expertile("run", model_copy, "--messages", "-", stdin=json.dumps(request))
        assert done.returncode == 2, done.stderr
        return done.stderr.decode()

    return run


def user(content):
    return [{"role": "user", "content": content}]


def image_part(url):
    return {"type": "image_url", "image_url": {"url": url}}


def test_a_list_or_a_request(expertile, reply):
    expected = reply(QWEN, user("Who art thou?"), "-n", 8)
    assert expected["role"] == "assistant" and expected["usage"]["completion_tokens"] <= 8
    assert reply(QWEN, user([{"type": "text", "text": "Who art thou?"}]), "-n", 8) == expected
    request = {"model": "any", "messages": user("Who art thou?"), "max_tokens": 8, "stream": False, "stop": None}
    assert reply(QWEN, request) == expected
    text = expertile("run", QWEN, "--messages", "-", "--no-statistics", "-n", 8, stdin=json.dumps(request))
    assert text.stdout.decode() == expected["content"] + "\n"


def test_flags_win_over_the_request(expertile):
    request = json.dumps({"messages": user("a"), "temperature": 0.5, "top_k": 7, "max_tokens": 2})
    done = expertile("run", QWEN, "--messages", "-", "--top-k", 3, stdin=request)
    assert b"sampling: temperature 0.5, top_k 3, top_p 1, min_p 0, seed 0" in done.stderr


@pytest.mark.parametrize("form", ["path", "file", "data", "qwen", "bare"])
def test_pictures(expertile, reply, form):
    data = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
    part = {
        "path": image_part(str(PICTURE)),
        "file": image_part(PICTURE.resolve().as_uri()),
        "data": image_part(data),
        "qwen": {"type": "image", "image": str(PICTURE)},
        "bare": {"type": "image_url", "image_url": data},
    }[form]
    expected = expertile("run", VISION, "--image", PICTURE, "--chat", "--prompt", CAPTION, "--no-statistics")
    message = reply(VISION, user([part, {"type": "text", "text": CAPTION}]))
    assert message["content"] + "\n" == expected.stdout.decode()


def test_calls_and_tools_reach_the_template(prompt_of):
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": "é"}'}}
    messages = user("q") + [
        {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "content": "4"},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": 2}}}]
    request = {"messages": messages, "tools": tools}
    shown = prompt_of(request, "messages[1].tool_calls[0].function.arguments.items() | list")
    assert "[('b', 1), ('a', 'é')]" in shown
    assert "Hm.|Hm.|x|4" in prompt_of(
        request,
        "messages[1].reasoning_content ~ '|' ~ messages[1].thinking ~ '|' ~ messages[2].tool_call_id ~ '|' ~ "
        "messages[2].content ~ (messages[1].tool_calls | length * 0) * ''",
    )
    assert '{"z": 1, "a": 2}' in prompt_of(request, "tools[0].function.parameters | tojson")
    assert "False" in prompt_of({"messages": user("q"), "chat_template_kwargs": {"t": False}}, "t ~ ''")


BAD = [
    ("", "malformed JSON"),
    ("[1, 2", "malformed JSON"),
    ("7", "expected a list of messages"),
    ([], "messages: none"),
    ([1], "messages[0]: 1, expected an object"),
    ([{"role": "wizard", "content": "a"}], 'messages[0].role: "wizard"'),
    (user("a") + [{"content": "a"}], "messages[1].role: missing"),
    (user(None), "messages[0].content: missing"),
    (user(5), "messages[0].content: 5"),
    (user([{"type": "audio", "audio": "x"}]), 'messages[0].content[0].type: "audio"'),
    (user([image_part("https://example.com/a.png")]), "messages[0].content[0].image_url.url"),
    (user([image_part("data:image/png;base64,###=")]), "messages[0].content[0].image_url.url"),
    ([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}], "tool_calls[0].function.arguments"),
    ({"messages": user("a"), "tools": [3]}, "tools[0]: 3"),
    ({"messages": user("a"), "logprobs": True}, "logprobs"),
]


@pytest.mark.parametrize("request_, says", BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_one_line(expertile, tmp_path, request_, says):
    file = tmp_path / "messages.json"
    file.write_text(request_ if isinstance(request_, str) else json.dumps(request_))
    done = expertile("run", QWEN, "--messages", file)
    message = done.stderr.decode()
    assert done.returncode in (1, 2) and done.stdout == b""
    assert message.startswith(f"expertile: {file}: ") and message.count("\n") == 1 and says in message, message


def test_pictures_that_are_not_there(expertile, tmp_path):
    def error_of(model, part):
        request = json.dumps(user("a") + user([{"type": "text", "text": "b"}, part]))
        done = expertile("run", model, "--messages", "-", stdin=request)
        assert done.returncode in (1, 2) and done.stdout == b"" and done.stderr.count(b"\n") == 1
        return done.stderr.decode()

    assert f"messages[1].content[1]: {tmp_path}/none.png" in error_of(VISION, image_part(f"{tmp_path}/none.png"))
    assert "messages[1].content[1]: data: URL: " in error_of(VISION, image_part("data:image/png;base64,YWJj"))
    assert "messages[1].content[1]" in error_of(QWEN, image_part(str(PICTURE)))
    assert "messages[1].content[1]" in error_of(VISION, image_part(str(tmp_path)))


def test_options_that_exclude_it(expertile, tmp_path):
    file = tmp_path / "messages.json"
    file.write_text(json.dumps(user("a")))
    for option in (["--prompt", "a"], ["--system", "a"], ["--image", PICTURE], ["--prompt-file", file]):
        done = expertile("run", VISION, "--messages", file, *option)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1, option
    assert expertile("run", QWEN, "--messages", tmp_path / "none.json").returncode == 1
