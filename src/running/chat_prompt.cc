#include "running/chat_prompt.h"

#include <algorithm>

namespace expertile {

int64_t CountShared(const ChatPrompt& held, const ChatPrompt& wanted) {
  const auto [ours, theirs] = std::ranges::mismatch(held.token_ids, wanted.token_ids);
  int64_t shared = ours - held.token_ids.begin();
  shared = std::min(shared, static_cast<int64_t>(wanted.token_ids.size()) - 1);
  const size_t num_images = std::max(held.images.size(), wanted.images.size());
  for (size_t i = 0; i < num_images; ++i) {
    // A picture in one of them alone: there, the other has image tokens that are only text.
    const bool in_both = i < held.images.size() && i < wanted.images.size();
    const ChatPrompt::Image& image = i < wanted.images.size() ? wanted.images[i] : held.images[i];
    if (image.begin >= shared) break;
    const bool is_same = in_both && held.images[i].key == wanted.images[i].key &&
                         held.images[i].begin == image.begin;
    if (!is_same || image.end > shared) return image.begin;
  }
  return std::max<int64_t>(shared, 0);
}

}  // namespace expertile
