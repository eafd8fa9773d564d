from pathlib import Path

import pytest
from check_layers import LAYERS, SAME_LAYER, CLOSED, problems_in


def refused(path, include):
    return bool(problems_in(Path(path), f'#pragma once\n#include "{include}"\n'))


@pytest.mark.parametrize("source", sorted(set(LAYERS) - {"expertile"}))
@pytest.mark.parametrize("wanted", LAYERS)
def test_only_lower_layers(source, wanted):
    if (source, wanted) in SAME_LAYER or (source, wanted) in CLOSED:
        return
    is_up = source != wanted and LAYERS[wanted] >= LAYERS[source]
    assert refused(f"src/{source}/a.cc", f"{wanted}/b.h") == is_up


def test_public_headers_include_nothing_but_themselves():
    assert not refused("include/expertile/model.h", "expertile/result.h")
    assert refused("include/expertile/model.h", "base/error.h")


def test_allowed_and_closed_pairs():
    assert not refused("src/image/a.cc", "formats/json.h")
    assert refused("src/formats/a.cc", "image/decode.h")
    assert not refused("src/model/a.cc", "image/image_grid.h")
    assert refused("src/model/a.cc", "image/decode.h")
    assert refused("src/dispatch/a.cc", "formats/json.h")
    assert refused("src/dispatch/a.cc", "model/decoder_spec.h")
    assert refused("src/tokenizer/a.cc", "formats/json.h")


def test_libraries_stand_alone():
    assert not refused("libs/jinja/a.cc", "jinja/b.h")
    assert refused("libs/jinja/a.cc", "base/error.h")
    assert refused("libs/jinja/a_test.cc", "tests/b.h")
    assert refused("libs/unknown/a.cc", "jinja/b.h")
    assert not refused("src/text/a.cc", "jinja/template.h")
    assert refused("include/expertile/a.h", "jinja/template.h")
    assert refused("cli/a.cc", "jinja/template.h")


def test_targets_do_not_know_each_other():
    assert refused("src/targets/cpu/a.cc", "targets/reference/tensor.h")
    assert not refused("src/targets/cpu/a.cc", "targets/cpu/tensor.h")
    assert not refused("src/targets/cpu/a.cc", "targets/target.h")
    assert refused("src/targets/router.cc", "targets/cpu/tensor.h")
    assert refused("src/targets/target_row.cc", "targets/cpu/cpu_program.h")
    assert not refused("src/compiling/target_table.cc", "targets/cpu/cpu_program.h")


def test_kernels_know_nothing_of_their_target():
    assert not refused("src/targets/cuda/kernels/a.cu", "targets/cuda/kernels/b.cuh")
    assert not refused("src/targets/cuda/kernels/a.h", "base/dtype.h")
    assert not refused("src/targets/cuda/a.cc", "targets/cuda/kernels/b.h")
    assert refused("src/targets/cuda/kernels/a.cu", "targets/cuda/b.h")


@pytest.mark.parametrize("client", ["cli", "examples", "bench", "python"])
def test_clients_use_the_public_api(client):
    assert not refused(f"{client}/a.cc", "expertile/model.h")
    assert not refused(f"{client}/a.cc", f"{client}/b.h")
    for wanted in set(LAYERS) - {"expertile", "targets"}:
        assert refused(f"{client}/a.cc", f"{wanted}/b.h")
    assert refused(f"{client}/a.cc", "targets/target.h") == (client != "bench")
    assert refused("src/running/a.cc", f"{client}/b.h")


def test_form_of_an_include():
    assert refused("src/base/a.cc", "error.h")
    assert refused("src/base/a.cc", "../base/error.h")
    assert refused("src/base/a.cc", "./error.h")
    assert refused("src/base/a.cc", "unknown/error.h")
    assert refused("src/unknown/a.cc", "base/error.h")
    assert problems_in(Path("src/formats/a.cc"), "#include <base/error.h>\n")
    assert not problems_in(Path("src/formats/a.cc"), "#include <sys/stat.h>\n#include <vector>\n")


def test_tests_look_inside():
    assert not refused("tests/a_test.cc", "targets/cpu/tensor.h")
    assert not refused("fuzz/a_fuzz.cc", "formats/json.h")
    assert not refused("src/targets/cpu/a_test.cc", "tests/tolerances.h")
    assert refused("src/targets/cpu/a.cc", "tests/tolerances.h")


def test_says_where():
    (problem,) = problems_in(Path("src/base/a.h"), '\n  #  include "model/family.h"\n')
    assert problem.startswith("src/base/a.h:2: ") and "model/family.h" in problem
