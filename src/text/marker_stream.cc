#include "text/marker_stream.h"

#include <algorithm>
#include <utility>

namespace expertile {

MarkerStream::MarkerStream(const TextTokenizer& tokenizer, std::vector<std::string_view> markers,
                           bool reads_text, bool skip_special_tokens)
    : reads_text_(reads_text), stream_(tokenizer, skip_special_tokens) {
  for (const std::string_view text : markers) markers_.push_back({text, tokenizer.TokenId(text)});
}

Status MarkerStream::Push(int32_t id, std::vector<Piece>& pieces) {
  const auto marker = std::ranges::find(markers_, id, &Marker::id);
  if (marker != markers_.end()) {
    Flush(pieces);
    pieces.push_back({static_cast<int>(marker - markers_.begin()), {}});
    return {};
  }
  EXPERTILE_ASSIGN(const std::string text, stream_.Push(id));
  Scan(text, pieces);
  return {};
}

void MarkerStream::Flush(std::vector<Piece>& pieces) {
  Scan(stream_.Flush(), pieces);
  if (!pending_.empty()) pieces.push_back({kText, std::exchange(pending_, {})});
}

// Cuts out every whole marker, and keeps back the longest end that may become one.
void MarkerStream::Scan(std::string_view text, std::vector<Piece>& pieces) {
  pending_ += text;
  std::string given;  // certain to be text
  size_t done = 0;
  while (done < pending_.size()) {
    const std::string_view rest = std::string_view(pending_).substr(done);
    const auto is_text_marker = [&](const Marker& marker) { return reads_text_ && !marker.id; };
    const auto whole = std::ranges::find_if(markers_, [&](const Marker& marker) {
      return is_text_marker(marker) && rest.starts_with(marker.text);
    });
    if (whole != markers_.end()) {
      if (!given.empty()) pieces.push_back({kText, std::exchange(given, {})});
      pieces.push_back({static_cast<int>(whole - markers_.begin()), {}});
      done += whole->text.size();
      continue;
    }
    const bool may_become = std::ranges::any_of(markers_, [&](const Marker& marker) {
      return is_text_marker(marker) && marker.text.starts_with(rest);
    });
    if (may_become) break;
    given += pending_[done++];
  }
  pending_.erase(0, done);
  if (!given.empty()) pieces.push_back({kText, std::move(given)});
}

}  // namespace expertile
