// A stream of token ids as text and markers: <think>, <|channel|> and the like.
// Not what a marker means (tagged_reply.cc, harmony_reply.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"
#include "expertile/tokenizer.h"

namespace expertile {

class MarkerStream {
 public:
  static constexpr int kText = -1;
  // A marker by its index in the constructor's list, or kText with some text.
  struct Piece {
    int marker = kText;
    std::string text;
  };

  // A marker that is a token is known by its id alone. Others are found in the text if
  // `reads_text`.
  MarkerStream(const TextTokenizer& tokenizer, std::vector<std::string_view> markers,
               bool reads_text, bool skip_special_tokens);

  // Appends what is certain now.
  Status Push(int32_t id, std::vector<Piece>& pieces);
  // Appends what is left.
  void Flush(std::vector<Piece>& pieces);

 private:
  void Scan(std::string_view text, std::vector<Piece>& pieces);

  struct Marker {
    std::string_view text;
    std::optional<int32_t> id;
  };
  std::vector<Marker> markers_;
  bool reads_text_;
  TextStream stream_;
  std::string pending_;  // text that may be the beginning of a marker
};

}  // namespace expertile
