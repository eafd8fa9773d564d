// Where a message's picture is: a path, a file:// or a data: URL.
// Not its decoding (image/), and nothing is opened or fetched.
#pragma once

#include <string>
#include <string_view>

#include "expertile/messages.h"
#include "expertile/result.h"

namespace expertile {

// Errors, which begin with `name`: http and other URLs, a data: URL that is not base64, damaged
// base64 or percent-encoding, nothing at all.
Result<ImageSource> ParseImageSource(std::string_view text, std::string_view name);

// Bytes from base64; blanks between its digits count nothing.
Result<std::string> DecodeBase64(std::string_view text, std::string_view name);

}  // namespace expertile
