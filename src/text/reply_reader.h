// What the readers of the two kinds of reply have in common: markers and text in, deltas out.
// Not the stream that finds the markers (marker_stream.h).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/reply.h"

namespace expertile {

class ReplyReader {
 public:
  virtual ~ReplyReader() = default;
  virtual std::vector<std::string_view> markers() const = 0;
  // `marker` is an index into markers(). Both append to `delta`.
  virtual void OnMarker(int marker, ReplyDelta& delta) = 0;
  virtual void OnText(std::string_view text, ReplyDelta& delta) = 0;
  virtual void OnEnd(ReplyDelta& delta) = 0;
};

// <think>…</think> and tool calls between tags (Qwen3, Granite).
std::unique_ptr<ReplyReader> NewTaggedReader(const ReplyFormat& format, ReplyStart start);
// Channels and recipients (GPT-OSS).
std::unique_ptr<ReplyReader> NewHarmonyReader();

}  // namespace expertile
