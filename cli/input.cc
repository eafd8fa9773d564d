#include "cli/input.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "expertile/git_lfs_pointer.h"

namespace expertile::cli {

Result<std::string> ReadFile(const std::string& path) {
  std::error_code ignored;  // what cannot be seen cannot be opened either
  if (std::filesystem::is_directory(path, ignored)) {
    return tl::unexpected(
        Error{ErrorCode::kIo, fmt::format("{}: a folder, expected a file", path)});
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return tl::unexpected(Error{ErrorCode::kNotFound,
                                fmt::format("{}: cannot open: {}", path, std::strerror(errno))});
  }
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad())
    return tl::unexpected(Error{ErrorCode::kIo, fmt::format("{}: cannot read", path)});
  if (auto pointer = GitLfsPointerError(text, path)) return tl::unexpected(*std::move(pointer));
  return text;
}

Status CheckOutput(const std::string& path) {
  if (path.empty()) return {};
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return tl::unexpected(
        Error{ErrorCode::kIo, fmt::format("{}: a folder, expected a file", path)});
  }
  if (::access(path.c_str(), W_OK) == 0) return {};  // a device, a file that is there
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (::access(parent.empty() ? "." : parent.c_str(), W_OK | X_OK) == 0) return {};
  return tl::unexpected(
      Error{ErrorCode::kIo, fmt::format("{}: cannot write: {}", path, std::strerror(errno))});
}

Result<std::vector<EncodedImage>> EncodeImages(const Program& program,
                                               const std::vector<std::string>& files) {
  std::vector<EncodedImage> images;
  for (const std::string& file : files) {
    EXPERTILE_ASSIGN(EncodedImage image, program.EncodeImage(file));
    images.push_back(std::move(image));
  }
  return images;
}

Result<std::vector<int32_t>> ParseIds(const std::string& text, const std::string& source) {
  const bool is_list = text.find('[') != std::string::npos;
  const std::string list = is_list ? text : "[" + text + "]";
  const auto json = nlohmann::json::parse(list, nullptr, /*allow_exceptions=*/false);
  const auto bad = [&](const std::string& what) {
    return tl::unexpected(Error{ErrorCode::kInvalidArgument, fmt::format("{}: {}", source, what)});
  };
  if (!json.is_array()) return bad("expected a JSON list of token ids");
  std::vector<int32_t> ids;
  ids.reserve(json.size());
  for (const auto& item : json) {
    if (!item.is_number_integer()) return bad(fmt::format("{} is not a token id", item.dump()));
    const auto value = item.get<int64_t>();
    if (value < 0 || value > INT32_MAX) return bad(fmt::format("{} is not a token id", value));
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

}  // namespace expertile::cli
