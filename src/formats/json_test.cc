#include "formats/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "base/temporary_folder.h"

namespace expertile {
namespace {

using nlohmann::json;

std::string ParseFailure(std::string_view text) {
  const auto document = ParseJson(text, "f");
  return document ? "parsed" : document.error().message;
}

JsonObject Object(std::string_view text) { return JsonObject::Parse(text, "f").value(); }

template <typename T>
std::string FailureOf(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}

std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJson, BuildsWhatNlohmannBuilds) {
  for (const std::string text :
       {R"({"a": [1, -2, 2.5, {"b": [[], {}, [null]]}, "x\u00e9\n"], "c": true, "": {"a": false}})",
        "[]", "{}", " 3 ", "\"s\"", "null", "18446744073709551615", "[[1,[2,[3]]],4]"}) {
    EXPECT_EQ(ParseJson(text, "f").value(), json::parse(text)) << text;
  }
}

TEST(ParseJson, RefusesMalformedTextWithItsPlace) {
  EXPECT_EQ(ParseFailure("{\n  \"a\": 1,\n}"),
            R"(f: line 3, column 1: malformed JSON near `{\x0a  "a": 1,\x0a}`)");
  EXPECT_EQ(ParseFailure(""), "f: line 1, column 0: malformed JSON near ``");
  for (const std::string_view text :
       {"{", "[1,]", "{\"a\"}", "{\"a\":}", "{1:2}", "nul", "01", "1 2", "{}{}", "NaN", "Infinity",
        "1e999", "\"\xff\"", "\"\x01\"", "\"\\ud800\"", "// c\n1", "'a'", "]", "[}"}) {
    EXPECT_NE(ParseFailure(text).find("malformed JSON"), std::string::npos) << text;
  }
}

TEST(ParseJson, MessagesAreOneShortLineWhateverTheText) {
  const std::string message = ParseFailure("[\"\n" + std::string(1000, 'x'));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  const std::string long_message = ParseFailure("\"" + std::string(1000000, 'x'));
  EXPECT_LT(long_message.size(), 300u);
}

TEST(ParseJson, RefusesZeroBytes) {
  EXPECT_EQ(ParseFailure(std::string_view("{}\0garbage", 10)), "f: zero byte at offset 2");
}

TEST(ParseJson, RefusesTwoEqualKeysInOneObjectOnly) {
  EXPECT_EQ(ParseFailure(R"({"a": 1, "b": 2, "a": 3})"), "f: two fields named \"a\"");
  EXPECT_EQ(ParseFailure(R"({"x": {"a": 1, "\u0061": 3}})"), "f: two fields named \"a\"");
  EXPECT_EQ(ParseFailure(R"({"a": {"a": 1}, "b": {"a": 1}})"), "parsed");
}

json ParsePython(std::string_view text) {
  const auto document = ParseJson(text, "f", JsonRules::kPython);
  EXPECT_TRUE(document) << document.error().message;
  return document ? *document : json();
}

TEST(ParseJson, ReadsAsPythonDoes) {
  const json numbers = ParsePython(R"([NaN, Infinity,-Infinity, 1e999 ,-1E+400, 2.5, "NaN"])");
  ASSERT_EQ(numbers.size(), 7u);
  EXPECT_TRUE(std::isnan(numbers[0].get<double>()));
  EXPECT_EQ(numbers[1].get<double>(), HUGE_VAL);
  EXPECT_EQ(numbers[2].get<double>(), -HUGE_VAL);
  EXPECT_EQ(numbers[3].get<double>(), HUGE_VAL);
  EXPECT_EQ(numbers[4].get<double>(), -HUGE_VAL);
  EXPECT_EQ(numbers[5].get<double>(), 2.5);
  EXPECT_EQ(numbers[6], "NaN");
  EXPECT_EQ(ParsePython("[" + std::string(400, '9') + "]")[0].get<double>(), HUGE_VAL);
  EXPECT_EQ(ParsePython(R"({"a": {"b": 1}, "x": "", "a": [2], "a": {"c": 3}})"),
            json::parse(R"({"a": {"c": 3}, "x": ""})"));
  EXPECT_EQ(
      ParsePython(R"(["\ud800", "\udc00x", "\ud83d\ude00", "\\ud800", "\ud800\ud83d\ude00"])"),
      json::parse(R"(["\ufffd", "\ufffdx", "\ud83d\ude00", "\\ud800", "\ufffd\ud83d\ude00"])"));
  EXPECT_TRUE(std::isnan(ParsePython("NaN").get<double>()));
}

TEST(ParseJson, RefusesWhatPythonRefuses) {
  for (const std::string_view text :
       {"{NaN: 1}",    "{1e999: 1}",    "[nan]",    "[-NaN]",   "[+Infinity]",
        "[NaNa]",      "[Infinity1]",   "[01e999]", "[1e999.]", "[NaN NaN]",
        "[\"\\ud8\"]", "[\"\\uzzzz\"]", "[\"a",     "[\"\\",    "NaN1",
        "{\"a\" NaN}", "['a']",         "[1,]",     "\"\x01\"", "\"\xff\""}) {
    EXPECT_FALSE(ParseJson(text, "f", JsonRules::kPython)) << text;
  }
  const auto refused = ParseJson("[NaN,\n NaN x]", "f", JsonRules::kPython);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "f: line 2, column 6: malformed JSON near `[NaN,\\x0a NaN x`");
}

TEST(JsonObject, ReadsFiniteNumbersOnly) {
  const auto object =
      JsonObject::Parse(R"({"n": NaN, "i": -Infinity, "l": [1, NaN]})", "f", JsonRules::kPython)
          .value();
  EXPECT_EQ(FailureOf(object.GetFloat("n")), "f: n: expected a number, got NaN");
  EXPECT_EQ(FailureOf(object.GetFloat("i", 1.0)), "f: i: expected a number, got -Infinity");
  EXPECT_EQ(FailureOf(object.GetInt("n")), "f: n: expected an integer, got NaN");
  EXPECT_EQ(FailureOf(object.GetString("n")), "f: n: expected a string, got NaN");
  EXPECT_EQ(FailureOf(object.GetFloatList("l")), "f: l[1]: expected a number, got NaN");
}

TEST(JsonObject, TellsNullFromAbsent) {
  const JsonObject object = Object(R"({"n": null, "o": {"n": null}, "e": {}})");
  EXPECT_TRUE(object.IsNull("n"));
  EXPECT_FALSE(object.IsNull("absent"));
  EXPECT_FALSE(object.IsNull("o"));
  EXPECT_TRUE(object.RefuseNull({"absent", "o"}));
  EXPECT_EQ(object.RefuseNull({"absent", "n"}).error().message, "f: n: null, expected a value");
  EXPECT_FALSE(object.GetObject("o").value().IsEmpty());
  EXPECT_TRUE(object.GetObject("e").value().IsEmpty());
  EXPECT_TRUE(object.GetObjectOrEmpty("n").value().IsEmpty());
  EXPECT_EQ(FailureOf(object.GetObjectOrEmpty("absent").value().GetInt("x")),
            "f: absent.x: missing");
}

TEST(JsonObject, RefusesFieldsThatDisagree) {
  const JsonObject object = Object(R"({"a": 1, "b": 1.0, "c": 2, "n": null, "o": {"a": [1]}})");
  EXPECT_TRUE(object.RefuseDisagreement("a", object, "b"));
  EXPECT_TRUE(object.RefuseDisagreement("a", object, "n"));
  EXPECT_TRUE(object.RefuseDisagreement("absent", object, "c"));
  EXPECT_EQ(object.RefuseDisagreement("a", object, "c").error().message,
            "f: a: 1, but f: c: 2: two names of one thing");
  EXPECT_EQ(object.RefuseDisagreement("c", object.GetObject("o").value(), "a").error().message,
            "f: c: 2, but f: o.a: [1]: two names of one thing");
}

TEST(ParseJson, BoundsNesting) {
  EXPECT_EQ(ParseFailure(Nested(kMaxJsonDepth)), "parsed");
  EXPECT_EQ(ParseFailure(Nested(kMaxJsonDepth + 1)), "f: nested deeper than 256 levels");
  EXPECT_EQ(ParseFailure(std::string(10'000'000, '[')), "f: nested deeper than 256 levels");
  std::string objects;
  for (size_t i = 0; i <= kMaxJsonDepth; ++i) objects += "{\"a\":";
  EXPECT_EQ(ParseFailure(objects), "f: nested deeper than 256 levels");
}

TEST(JsonObject, ReadsFieldsByType) {
  const JsonObject object = Object(R"({"i": -7, "f": 2.5, "b": true, "s": "x", "o": {"i": 3}})");
  EXPECT_EQ(object.GetInt("i").value(), -7);
  EXPECT_EQ(object.GetFloat("f").value(), 2.5);
  EXPECT_EQ(object.GetFloat("i").value(), -7.0);
  EXPECT_EQ(object.GetBool("b").value(), true);
  EXPECT_EQ(object.GetString("s").value(), "x");
  EXPECT_EQ(object.GetObject("o").value().GetInt("i").value(), 3);
  EXPECT_EQ(object.Keys(), (std::vector<std::string>{"b", "f", "i", "o", "s"}));
}

TEST(JsonObject, AbsentAndNullFieldsTakeTheFallbackOrAreMissing) {
  const JsonObject object = Object(R"({"n": null})");
  for (const std::string key : {"n", "absent"}) {
    EXPECT_FALSE(object.Has(key));
    EXPECT_EQ(object.GetInt(key, 5).value(), 5);
    EXPECT_EQ(object.GetFloat(key, 0.5).value(), 0.5);
    EXPECT_EQ(object.GetBool(key, true).value(), true);
    EXPECT_EQ(object.GetString(key, "y").value(), "y");
    EXPECT_TRUE(object.GetIntList(key).value().empty());
    EXPECT_TRUE(object.GetIntOrIntList(key).value().empty());
    const std::string missing = "f: " + key + ": missing";
    EXPECT_EQ(FailureOf(object.GetInt(key)), missing);
    EXPECT_EQ(FailureOf(object.GetFloat(key)), missing);
    EXPECT_EQ(FailureOf(object.GetBool(key)), missing);
    EXPECT_EQ(FailureOf(object.GetString(key)), missing);
    EXPECT_EQ(FailureOf(object.GetObject(key)), missing);
  }
  EXPECT_TRUE(object.Keys().empty());
}

TEST(JsonObject, WrongKindsSayWhatWasThere) {
  const JsonObject object =
      Object(R"({"s": "abc", "f": 8.0, "l": [1, 2], "o": {"x": []}, "b": true, "line": "a\nb"})");
  EXPECT_EQ(FailureOf(object.GetInt("s", 1)), "f: s: expected an integer, got \"abc\"");
  EXPECT_EQ(FailureOf(object.GetInt("f")), "f: f: expected an integer, got 8.0");
  EXPECT_EQ(FailureOf(object.GetInt("b")), "f: b: expected an integer, got true");
  EXPECT_EQ(FailureOf(object.GetFloat("l")), "f: l: expected a number, got a list of 2");
  EXPECT_EQ(FailureOf(object.GetBool("f")), "f: f: expected true or false, got 8.0");
  EXPECT_EQ(FailureOf(object.GetString("o")), "f: o: expected a string, got an object");
  EXPECT_EQ(FailureOf(object.GetObject("l")), "f: l: expected an object, got a list of 2");
  EXPECT_EQ(FailureOf(object.GetIntList("s")), "f: s: expected a list, got \"abc\"");
  EXPECT_EQ(FailureOf(object.GetInt("line")), "f: line: expected an integer, got \"a\\x0ab\"");
  EXPECT_EQ(FailureOf(object.GetObject("o").value().GetInt("x")),
            "f: o.x: expected an integer, got a list of 0");
}

TEST(JsonObject, NumbersAreHeldToBounds) {
  const JsonObject object = Object(
      R"({"n": 8, "big": 2147483648, "huge": 9223372036854775808, "top": 9223372036854775807,
          "f": 1.5})");
  EXPECT_EQ(object.GetInt("n", kRequired, {8, 8}).value(), 8);
  EXPECT_EQ(FailureOf(object.GetInt("n", 1, {1, 7})), "f: n: 8 is out of range, expected 1 to 7");
  EXPECT_FALSE(object.GetInt("n", 1, {9, 10}));
  EXPECT_FALSE(object.GetInt("big"));  // an int cannot hold it
  EXPECT_EQ(object.GetInt("big", 0, {0, INT64_MAX}).value(), 2147483648);
  EXPECT_EQ(object.GetInt("top", 0, {0, INT64_MAX}).value(), INT64_MAX);
  EXPECT_FALSE(object.GetInt("huge", 0, {INT64_MIN, INT64_MAX}));
  EXPECT_EQ(FailureOf(object.GetFloat("f", kRequired, {0, 1})),
            "f: f: 1.5 is out of range, expected 0 to 1");
  EXPECT_EQ(object.GetInt("absent", 100, {1, 7}).value(), 100);
}

TEST(JsonObject, ReadsLists) {
  const JsonObject object =
      Object(R"({"i": [1, 2], "f": [1, 0.5], "s": ["a"], "one": 4, "mixed": [1, "x"], "e": []})");
  EXPECT_EQ(object.GetIntList("i").value(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(object.GetFloatList("f").value(), (std::vector<double>{1, 0.5}));
  EXPECT_EQ(object.GetStringList("s").value(), std::vector<std::string>{"a"});
  EXPECT_TRUE(object.GetStringList("e").value().empty());
  EXPECT_EQ(object.GetIntOrIntList("one").value(), std::vector<int64_t>{4});
  EXPECT_EQ(object.GetIntOrIntList("i").value(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(FailureOf(object.GetIntList("one")), "f: one: expected a list, got 4");
  EXPECT_EQ(FailureOf(object.GetIntList("mixed")), "f: mixed[1]: expected an integer, got \"x\"");
  EXPECT_EQ(FailureOf(object.GetIntList("i", {2, 3})),
            "f: i[0]: 1 is out of range, expected 2 to 3");
}

TEST(JsonObject, InnerObjectOutlivesTheOuter) {
  const JsonObject inner = Object(R"({"o": {"o": {"i": 3}}})").GetObject("o").value();
  EXPECT_EQ(inner.GetObject("o").value().GetInt("i").value(), 3);
}

TEST(JsonObject, ReadsFilesAndNamesThem) {
  const TemporaryFolder folder;
  auto file = AtomicFile::Create(folder / "config.json");
  ASSERT_TRUE(file && file->Append("[1]") && file->Commit());
  EXPECT_EQ(FailureOf(JsonObject::Read(folder / "config.json")),
            (folder / "config.json").string() + ": expected an object, got a list of 1");
  EXPECT_EQ(JsonObject::Read(folder / "nowhere.json").error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace expertile
