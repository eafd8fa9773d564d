from check_docs import link_problems, make_problems, option_problems, path_problems


def messages(problems):
    return [message for _, message in problems]


def test_paths():
    text = "see `src/a.h`, `src/b.h`, `src/base/`, `other/c`, `mul/add x`, `a.h`\n```\n`src/gone`\n```\n"
    found = messages(path_problems(text, {"src"}, {"src/a.h", "src/base/"}.__contains__))
    assert found == ["`src/b.h` does not exist"]


def test_links():
    text = "[a](a.md) [b](b.md#x) [c](#here) [d](https://d.example/) [e](../e.md)"
    found = messages(link_problems(text, {"a.md"}.__contains__))
    assert ["b.md" in found[0], "../e.md" in found[1], len(found)] == [True, True, 2]


def test_make_targets():
    text = "`make test`, `make tset`; please make sure.\n```\n$ FUZZ=1 make build X=1 demmo  # make it so\n```\n"
    found = messages(make_problems(text, {"test", "build"}))
    assert sorted(message.split(":")[0] for message in found) == ["make demmo", "make tset"]


def test_options():
    helps = {"run": "--prompt TEXT\n --prompt-file TEXT"}
    text = """`expertile run M --prompt x`, `expertile fly`, `expertile run --pro`
```
build/release/expertile run M \\
    --prompt-file f --max 3 | tool --other  # expertile run --comment
```
expertile run --prose is not a command.
"""
    found = messages(option_problems(text, helps.get))
    assert sorted(found) == [
        "expertile fly: no such subcommand",
        "expertile run: no option --max",
        "expertile run: no option --pro",
    ]
