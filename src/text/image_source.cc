#include "text/image_source.h"

#include <openssl/evp.h>

#include <charconv>
#include <climits>
#include <utility>

#include "base/error.h"

namespace expertile {
namespace {

// "%20" is a blank (RFC 3986).
Result<std::string> DecodePercents(std::string_view text, std::string_view name) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned char byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2 || byte == 0) {
      return InvalidArgument("{}: file URL with a bad %-escape: {}", name, OneLine(text));
    }
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
}

Result<ImageSource> ParseFileUrl(std::string_view rest, std::string_view name) {
  if (rest.starts_with("localhost/")) rest.remove_prefix(std::string_view("localhost").size());
  if (!rest.starts_with('/')) {
    return InvalidArgument("{}: file://{}: expected file:/// and an absolute path", name,
                           OneLine(rest));
  }
  EXPERTILE_ASSIGN(std::string path, DecodePercents(rest, name));
  return ImageSource{std::move(path), {}};
}

Result<ImageSource> ParseDataUrl(std::string_view rest, std::string_view name) {
  const size_t comma = rest.find(',');
  const std::string_view kind = rest.substr(0, std::min(comma, rest.size()));
  if (comma == std::string_view::npos || !kind.ends_with(";base64")) {
    return InvalidArgument("{}: data:{}: expected data:TYPE;base64,DATA", name, OneLine(kind));
  }
  EXPERTILE_ASSIGN(std::string bytes, DecodeBase64(rest.substr(comma + 1), name));
  return ImageSource{{}, std::move(bytes)};
}

}  // namespace

Result<std::string> DecodeBase64(std::string_view text, std::string_view name) {
  std::string digits;
  for (const char c : text) {
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') digits += c;
  }
  if (digits.empty()) return InvalidArgument("{}: no base64 data", name);
  const size_t num_padding = digits.size() - (digits.find_last_not_of('=') + 1);
  std::string bytes(digits.size() / 4 * 3, '\0');
  const bool is_whole = digits.size() % 4 == 0 && digits.size() <= INT_MAX && num_padding <= 2;
  const int num_bytes = !is_whole
                            ? -1
                            : EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                              reinterpret_cast<const unsigned char*>(digits.data()),
                                              static_cast<int>(digits.size()));
  if (num_bytes < 0) {
    return InvalidArgument("{}: {} characters that are no base64 data", name, text.size());
  }
  bytes.resize(static_cast<size_t>(num_bytes) - num_padding);
  return bytes;
}

Result<ImageSource> ParseImageSource(std::string_view text, std::string_view name) {
  if (text.empty()) return InvalidArgument("{}: empty, expected a file or a data: URL", name);
  if (text.find('\0') != std::string_view::npos) {
    return InvalidArgument("{}: {}: a path has no zero byte", name, OneLine(text));
  }
  if (text.starts_with("data:")) return ParseDataUrl(text.substr(5), name);
  if (text.starts_with("file://")) return ParseFileUrl(text.substr(7), name);
  const size_t scheme = text.find("://");
  if (scheme != std::string_view::npos && text.find('/') == scheme + 1) {
    return Unsupported("{}: {}: nothing is fetched; expected a file, a file:// or a data: URL",
                       name, OneLine(text));
  }
  return ImageSource{std::string(text), {}};
}

}  // namespace expertile
