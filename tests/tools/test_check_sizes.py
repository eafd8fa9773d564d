from pathlib import Path

import check_sizes
from check_sizes import (
    byte_problems,
    cpp_functions,
    forgotten_goldens,
    forgotten_tests,
    length_problems,
    python_functions,
)

CPP = """\
#define OPEN(x) {
namespace expertile {
namespace {
// void Comment() { {
constexpr char kBrace[] = "{ (";
const int kTable[] = {Two(1),
                      1'000};
struct Pair {
  int a = '{';
  explicit Pair(int x)
      : a(x) {
    if (x) { a = 1; }
  }
};
template <typename T>
  requires Small<T>
int Two(T a) {
  const auto f = [&](int b) {
    return R"(}})" + a;
  };
  return 2;
}
}  // namespace
}  // namespace expertile
"""


def test_functions_of_cpp():
    assert list(cpp_functions(CPP)) == [(10, 4), (16, 7)]


def test_functions_of_python():
    assert list(python_functions("x = 1\n\ndef f():\n    return (\n        1)\n")) == [(3, 3)]


def function(num_lines):
    return "void F() {\n" + "  G();\n" * (num_lines - 2) + "}\n"


def test_length_of_a_function():
    assert not list(length_problems(Path("a.cc"), function(60)))
    (problem,) = length_problems(Path("a.cc"), "\n" + function(61))
    assert problem.startswith("a.cc:2: ") and "61" in problem


def test_length_of_a_source():
    for name in ("a.h", "a.py", "a.sh"):
        assert not list(length_problems(Path(name), "\n" * 500))
        assert list(length_problems(Path(name), "\n" * 501))


def test_bytes():
    limit = check_sizes.FILE_BYTES
    assert not list(byte_problems({Path("a"): limit}))
    assert list(byte_problems({Path("a"): limit + 1}))
    many = {Path(str(i)): limit for i in range(13)}
    assert ["repository" in problem for problem in byte_problems(many)] == [True]


def test_forgotten_tests():
    test, above = Path("src/model/families/a_test.cc"), Path("src/model/CMakeLists.txt")
    assert list(forgotten_tests({test: "", above: "SOURCES xa_test.cc"}))
    assert list(forgotten_tests({test: "", above: "SOURCES a_test.cc"}))
    assert not list(forgotten_tests({test: "", above: "SOURCES families/a_test.cc"}))
    own = Path("src/model/families/CMakeLists.txt")
    assert not list(forgotten_tests({test: "", own: "SOURCES a_test.cc"}))


def test_forgotten_goldens():
    paths = [Path("tests/goldens/tiny.json"), Path("tests/goldens/image/a.png")]
    reader = Path("tests/a_test.cc")
    assert len(list(forgotten_goldens(paths, {reader: "tiny image"}))) == 2
    assert not list(forgotten_goldens(paths, {reader: 'Golden("tiny"), "goldens/image/" + name'}))
    assert len(list(forgotten_goldens(paths, {reader: 'Golden("tiny.json")'}))) == 1
    assert len(list(forgotten_goldens(paths, {Path("docs/a.md"): '"tiny" "image"'}))) == 2
