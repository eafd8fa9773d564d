#include "base/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace expertile {
namespace {

TEST(Log, GoesToTheSinkUpToItsLevelAndNowhereElse) {
  std::vector<std::string> lines;
  const LogSink sink = [&](LogLevel, std::string_view line) { lines.emplace_back(line); };
  Log(LogLevel::kInfo, "nobody hears {}", 1);
  SetLogSink(sink);
  Log(LogLevel::kInfo, "{} layers", 4);
  Log(LogLevel::kDebug, "a step");
  SetLogSink(sink, LogLevel::kDebug);
  Log(LogLevel::kDebug, "a step of {}", 7);
  SetLogSink(nullptr);
  Log(LogLevel::kInfo, "nobody hears");
  EXPECT_EQ(lines, (std::vector<std::string>{"4 layers", "a step of 7"}));
}

}  // namespace
}  // namespace expertile
