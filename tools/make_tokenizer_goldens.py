#!/usr/bin/env python3
"""Writes tests/goldens/tokenizer/{checkpoints,small}.json with the PyPI `tokenizers` library.

Run from the repository root, with `pip install tokenizers`. checkpoints.json holds the ids that the
tokenizers of the tiny checkpoints give to a list of texts; small.json holds hand-made tokenizers,
each of which exercises one rule of the format, with their own texts.
"""

import json
import pathlib
import random

from tokenizers import Tokenizer

GOLDENS = pathlib.Path("tests/goldens/tokenizer")
CHECKPOINTS = {
    "qwen3_moe": "models/tiny-qwen3_moe/tokenizer.json",
    "qwen3_vl_moe": "tests/goldens/tokenizer/qwen3_vl_moe.tokenizer.json",
    "gpt_oss": "tests/goldens/tokenizer/gpt_oss.tokenizer.json",
    "granitemoe": "tests/goldens/tokenizer/granitemoe.tokenizer.json",
}

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world!",
    "First Citizen:\nBefore we proceed any further, hear me speak.",
    "  two  spaces   three    four ",
    "trailing spaces   ",
    "\ttabs\tand\t\tmore\t",
    "line\nline\n\nline\n\n\n",
    "dos\r\nlines\r\n\r\nand\rmac\r",
    " \n \n  x \n",
    "\n   indented\n\treturn x;\n",
    "it's IT'S It's don't DON'T we'll WE'LL they'Re I'VE he'D I'M you'rE",
    "it\u2019s don\u2019t",
    "'s't're've'm'll'd",
    "x'\u017f y'S z'\u017ft k\u212a \u212aelvin 'LL",
    "0 1 12 123 1234 12345678901234567890 1,234.56 -7 3.14e-10 0xFF",
    "\u0661\u0662\u0663\u0664 \u09ea\u09eb \u0967\u0968 \u00bd \u2167 \u00b2 \uff11\uff12",
    "CamelCaseHTTPServer XMLHttpRequest iPhone McDonald \u01c5 \u01c6 \u01c4",
    "na\u00efve caf\u00e9 r\u00e9sum\u00e9 \u00c5 \u00d8 \u00df \u1e9e \u0130 \u0131",
    "nai\u0308ve cafe\u0301 A\u030a \u212b \u2126 o\u0323\u0302 o\u0302\u0323 q\u0307\u0323",
    "e\u0301\u0301\u0301\u0301 \u0301 a\u0315\u0300\u05ae\u0062",
    "\ud55c\uad6d\uc5b4 \uac00\uac01 \u1100\u1161 \u1100\u1161\u11a8 \uac00\u11a8",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u30c6\u30b9\u30c8 \u3053\u3093 \uf900 \U0002f800",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0645\u064f\u062d\u064e\u0645\u064e\u0651\u062f \u05e9\u05b8\u05dc\u05d5\u05b9\u05dd",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22\u0e20\u0e32\u0e29\u0e32 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u270c\U0001f3fd \u2764\ufe0f",
    "a\u00a0b\u00a0\u00a0c \u3000\u3000d \u2003e\u2028f\u2029g\u0085h\u1680i\u180ej\u202fk\u205fl\ufeffm\u200bn",
    "\u00a0\u00a0\u00a0", "\u3000x", "x\u0085\u0085y", "x\u180e\u180ey", " \u180e ", "\u2028\u2029",
    "nul\x00byte\x00\x00 \x01\x02\x7f\x1b[0m",
    "a" * 100, " " * 100, " " * 100 + "x", "\n" * 50, "\r\n" * 20, "!" * 70, "aB" * 40, "1" * 50,
    "ab" * 33 + " " + "\u00e9" * 40 + "e\u0301" * 20, "=-" * 30, "\u4e00" * 30, "A" * 60 + "a",
    "def f(x):\n    return {'a': [1, 2], \"b\": x ** 2}  # note\n\n\nif __name__ == '__main__':\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 2.5f; } // loop\n/* c */ #include <x.h>",
    "https://example.org/path/to?q=1&r=%20#frag /usr/bin/env //host//share/",
    "<html><body class=\"x\">&amp;</body></html>",
    "hello/\n/\r\n//\n word.\n\n word!\r\n",
    "$100 \u20ac50 \u00a320 \u00a5\u00a5 50% \u00a7 \u00b6 \u2026 \u2014 \u201cquoted\u201d \u00ab\u00bb",
    "\u2211\u222b\u221a\u221e \u2260 \u2264 \u2192 \u2200x\u2208S \u24b6\u24d0 \u2460",
    "\U0001d400\U0001d7d8 \U00010400\U00010428 \U00020000 \U000e0001 \ue000 \uffff \U0010ffff",
    "\ufffd\ufffe \u0378 \u0600 \u06dd\u070f",
    "<|endoftext|>", "a<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "<|start|>system<|message|>x<|end|><|start|>assistant<|channel|>final<|return|><|call|>",
    "<|start_of_role|>user<|end_of_role|>hi<|end_of_text|><fim_prefix>a<fim_suffix>b<fim_middle>",
    "<|vision_start|><|image_pad|><|image_pad|><|vision_end|> <|video_pad|>",
    "<|endoftext|><|endoftext|> <|endoftext|", "<|im_<|im_end|>end|>", "< |im_end|>", "<|IM_END|>",
    "e<|im_end|>\u0301", "Q\u0307\u0323<think>x'S",
]


def random_texts(count):
    rng = random.Random(20)
    alphabet = list("abcdeABC '''sStTlLmMrRdDvV019.,-_/\n\r\t  ") + [
        "\u00e9", "\u0301", "\u0323", "\u017f", "\u212a", "\u0660", "\u00a0", "\u3000", "\u0085",
        "\uac00", "\u11a8", "\u4e2d", "\U0001f600", "\u200d", "\u00df", "\u01c5", "\u02b0", "\u00bd",
    ]
    return ["".join(rng.choices(alphabet, k=rng.randint(1, 40))) for _ in range(count)]


def checkpoint_goldens():
    texts = TEXTS + random_texts(100)
    rng = random.Random(21)
    result = {"texts": texts, "tokenizers": []}
    for name, path in CHECKPOINTS.items():
        tokenizer = Tokenizer.from_file(path)
        size = tokenizer.get_vocab_size()
        id_lists = [[rng.randrange(size) for _ in range(rng.randint(1, 12))] for _ in range(40)]
        result["tokenizers"].append({
            "name": name,
            "file": path,
            "ids": [tokenizer.encode(text).ids for text in texts],
            "decoded": [tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False)
                        for text in texts],
            "id_lists": id_lists,
            "id_lists_decoded": [tokenizer.decode(ids) for ids in id_lists],
        })
    return result


def byte_level_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(c) for c in printable] + [chr(0x100 + i) for i in range(len(others))]


def added(content, **flags):
    token = dict(id=0, content=content, single_word=False, lstrip=False, rstrip=False,
                 normalized=False, special=False)
    return {**token, **flags}


def byte_level(**options):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True,
            **options}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def small(alphabet=None, merges=(), extra=(), **members):
    """A tokenizer of one-character tokens, the results of `merges` and `extra`."""
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": False, "merges": list(merges), **members.pop("model", {})}
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    tokens = [*(alphabet or byte_level_alphabet()), *("".join(pair) for pair in pairs), *extra]
    model["vocab"] = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    root = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
            "normalizer": None, "pre_tokenizer": byte_level(), "post_processor": None,
            "decoder": byte_level(), **members}
    return {**root, "model": model}


SPACED = ["", " ", "ab", " ab", "ab ab  ab", "a\u00e9 \u4e2d\n", "abab abc  "]
MERGES = ["a b", "ab a", "ab ab", "\u0120 a", "\u0120a b", "c c"]
PLAIN = list("abcdef .-_\u00e9")


def split_tokenizers():
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            yield (f"Split {behavior} invert={invert}",
                   small(PLAIN, ["a -", "- -", "- a", "-- a", "a --"], decoder=None,
                         pre_tokenizer=split({"String": "-"}, behavior, invert)),
                   ["a-b", "--a--b--", "-", "--", "a", "a---a-a", "-a", "a-"])
    patterns = [r"\s+", r"\w+", r"[^\w]", r"\d", r"[^\S\n]+", r"(?i:k|s)", r"x*", r"", r"(?=a)", r"^.",
                r".$", r"(?m:a.)", r"a{,2}", r"{", r"(?>a+)b?", r"a++", r"(?<!a)b", r"[]a]", r"[^]a]",
                r"\p{Han}+", r"\p{^L}+", r"\P{L}", r"\h+", r"\v", r"\x{61}|\u0062|\x63", r"\A.", r".\z",
                r"(?i)k|b", r"[\p{Lu}\p{Lt}]+", r"\n|\r\n?"]
    for pattern in patterns:
        yield (f"Split Regex {pattern}",
               small(pre_tokenizer={"type": "Sequence", "pretokenizers": [
                   split({"Regex": pattern}), byte_level(use_regex=False)]},
                   model={"ignore_merges": True}, extra=["ab", "aa", "aab", "\u0120a", "\u010a\u010a"]),
               ["", "aaab aab\nab  b\n", "K\u212a\u017fs k\u00bd\u4e2d\u6587a", "\t \u0085\u180e\u3000x",
                "{a}[]a^", "\r\n\n\r", "\u01c5A\u0301b_c9\u0663"])


def added_token_tokenizers():
    texts = ["<x>", "a<x>b", "a  <x>  b", " <x><x> ", "ab<x>", "<x>.", "<x>9", "\u00e9<x>", "_<x>",
             "a \u3000<x>\u0085\nb", "<x", "<xx>", "<X> <x>", "\u200d<x>", "<x>\u0301"]
    for flags in [{}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True},
                  {"single_word": True}, {"single_word": True, "lstrip": True, "rstrip": True},
                  {"special": True}, {"normalized": True},
                  {"normalized": True, "lstrip": True, "special": True}]:
        for normalizer in [None, {"type": "Lowercase"}]:
            yield (f"added {flags} {normalizer}",
                   small(merges=MERGES, added_tokens=[added("<x>", **flags), added("<xx>", **flags)],
                         normalizer=normalizer), texts)
    overlaps = [added("ab"), added("abc", special=True), added("bcd"), added(" "), added("  ", rstrip=True)]
    yield ("added overlapping", small(merges=MERGES, added_tokens=overlaps),
           ["ab", "abc", "abcd", "aabcd", "bcdab", "a    b", "     "])
    yield ("added where rstrip reaches the next",
           small(added_tokens=[added("<x>", rstrip=True), added(" ", rstrip=True)]),
           ["<x>  a", "<x> <x>   ", "  a"])
    yield ("added beside the vocabulary",
           small(merges=MERGES, added_tokens=[added("abab", id=9000), added("<y>", id=7),
                                              added("<z>", id=7), added("<Y>", normalized=True)]),
           ["abab<y><z><Y>ababab"])


def small_tokenizers():
    yield "merges as strings", small(merges=MERGES), SPACED
    yield "merges as pairs", small(merges=[merge.split(" ") for merge in MERGES]), SPACED
    yield ("merges with #version", small(merges=["#version: 0.2", *MERGES][1:],
                                         model={"merges": ["#version: 0.2", *MERGES]}), SPACED)
    yield ("merge given twice", small(merges=[*MERGES, "a b"]), SPACED)
    yield ("merge order", small("abcd", ["b c", "a b", "c d", "ab cd", "a bc", "abc d"],
                                pre_tokenizer=None, decoder=None),
           ["abcd", "abcabcd", "bcd", "cdabcd", "abababcdcd"])
    yield ("ignore_merges", small(merges=["a b"], extra=["abc", "\u0120abc"],
                                  model={"ignore_merges": True}), ["abc", "abc abc", "abcd", "ab"])
    yield ("no ignore_merges", small(merges=["a b"], extra=["abc"]), ["abc", "abcd"])
    for fuse in [False, True]:
        yield (f"unk_token fuse_unk={fuse}",
               small("ab", ["a b"], extra=["<unk>"], pre_tokenizer=None, decoder=None,
                     model={"unk_token": "<unk>", "fuse_unk": fuse}), ["abxab", "xyzabxy\u4e2d", "x"])
    yield "unknown dropped", small("ab", ["a b"], pre_tokenizer=None, decoder=None), ["axb", "x", "ab"]
    for options in [{"add_prefix_space": True}, {"use_regex": False},
                    {"add_prefix_space": True, "use_regex": False}]:
        yield (f"ByteLevel {options}", small(merges=MERGES, pre_tokenizer=byte_level(**options)), SPACED)
    yield ("ByteLevel prefix after Digits",
           small(merges=MERGES, pre_tokenizer={"type": "Sequence", "pretokenizers": [
               {"type": "Digits", "individual_digits": False}, byte_level(add_prefix_space=True)]}),
           ["ab12ab", "1 2", "ab", "\u0663a\u00bd"])
    for individual in [False, True]:
        yield (f"Digits {individual}",
               small(merges=["1 2", "12 3"], pre_tokenizer={"type": "Sequence", "pretokenizers": [
                   {"type": "Digits", "individual_digits": individual}, byte_level()]}),
               ["123", "a123b12", " 12 3", "\u0661\u0662\u00b2\u2167"])
    for form in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"]:
        yield (form, small(normalizer={"type": form}),
               ["\u00e9e\u0301", "\u212b\u2126\ufb01\u00bd\uff21", "o\u0323\u0302\u0302\u0323",
                "\uac01\u1100\u1161\u11a8", "\u0130I\u03a3\u1e9e", "\ufdfa", "\u0958\u2adc"])
    yield ("normalizer Sequence", small(normalizer={"type": "Sequence", "normalizers": [
        {"type": "NFKD"}, {"type": "Replace", "pattern": {"Regex": "\\p{M}+"}, "content": ""},
        {"type": "Replace", "pattern": {"String": "."}, "content": "dot"}, {"type": "Lowercase"},
        {"type": "Prepend", "prepend": "_"}]}), ["\u00c9t\u00e9.", "", "a.b.c", "\u0301"])
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[B]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": "[E]", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[B]": {"id": "[B]", "ids": [1, 2], "tokens": ["x", "y"]},
                           "[E]": {"id": "[E]", "ids": [3], "tokens": ["z"]}}}
    yield "TemplateProcessing", small(post_processor=template), ["", "ab"]
    yield ("post-processor Sequence", small(post_processor={
        "type": "Sequence", "processors": [byte_level(), template]}), ["", "ab"])
    yield "post-processor ByteLevel", small(post_processor=byte_level()), ["", "ab"]
    yield "no decoder", small(decoder=None, added_tokens=[added("<s>", special=True)]), ["ab <s>c"]
    yield ("decoder Sequence", small(decoder={"type": "Sequence", "decoders": [
        byte_level(), {"type": "Fuse"}]}, added_tokens=[added("\uff5cs\uff5c", special=True)]),
           ["\u00e9 \uff5cs\uff5c\U0001f600"])
    yield from split_tokenizers()
    yield from added_token_tokenizers()


def small_goldens():
    result = []
    for name, root, texts in small_tokenizers():
        tokenizer = Tokenizer.from_str(json.dumps(root))
        cases = []
        for text in texts:
            encoding = tokenizer.encode(text)
            cases.append({
                "text": text,
                "ids": encoding.ids,
                "ids_without_special": tokenizer.encode(text, add_special_tokens=False).ids,
                "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=False),
            })
        result.append({"name": name, "tokenizer": root, "cases": cases})
    return result


def write(name, value):
    (GOLDENS / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("checkpoints.json", checkpoint_goldens())
    write("small.json", small_goldens())
