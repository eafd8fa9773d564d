// A conversation's prompt as tokens with its images, and how much of it another one shares.
// Not its making (chat_session.cc).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace expertile {

struct ChatPrompt {
  struct Image {
    std::string key;    // equal for equal pictures
    int64_t begin = 0;  // its tokens in token_ids
    int64_t end = 0;
  };
  std::vector<int32_t> token_ids;
  std::vector<Image> images;  // in order
};

// How many of `wanted`'s first tokens mean the same in `held`: the longest common beginning that
// cuts no image and leaves at least one token of `wanted` to compute.
int64_t CountShared(const ChatPrompt& held, const ChatPrompt& wanted);

}  // namespace expertile
