#include "image/file_kind.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace expertile {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kReadFormats = "PNG, JPEG, WebP, GIF and BMP are";

struct Signature {
  size_t offset;
  std::string_view bytes;
  std::string_view name;
};

// Pictures and documents that people take for pictures.
constexpr Signature kOtherFormats[] = {
    {4, "ftypavif"sv, "an AVIF image"},
    {4, "ftypavis"sv, "an AVIF image"},
    {4, "ftypheic"sv, "a HEIC image"},
    {4, "ftypheix"sv, "a HEIC image"},
    {4, "ftyphevc"sv, "a HEIC image"},
    {4, "ftypheim"sv, "a HEIC image"},
    {4, "ftypmif1"sv, "a HEIF image"},
    {4, "ftypmsf1"sv, "a HEIF image"},
    {4, "ftyp"sv, "a video"},
    {0, "II\x2a\0"sv, "a TIFF image"},
    {0, "MM\0\x2a"sv, "a TIFF image"},
    {0, "II\x2b\0"sv, "a TIFF image"},
    {0, "MM\0\x2b"sv, "a TIFF image"},
    {0, "\0\0\0\x0cjP  "sv, "a JPEG 2000 image"},
    {0, "\xff\x4f\xff\x51"sv, "a JPEG 2000 image"},
    {0, "\0\0\0\x0cJXL "sv, "a JPEG XL image"},
    {0, "\xff\x0a"sv, "a JPEG XL image"},
    {0, "\0\0\1\0"sv, "an icon"},
    {0, "8BPS"sv, "a Photoshop document"},
    {0, "%PDF-"sv, "a PDF document"},
    {0, "qoif"sv, "a QOI image"},
    {0, "\x1f\x8b"sv, "a gzip file"},
    {0, "PK\3\4"sv, "a zip file"},
    {0, "\x1a\x45\xdf\xa3"sv, "a video"},
};

std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Whether `text` begins, after white space and a byte order mark, with `tag` in any case.
bool BeginsWithTag(std::string_view text, std::string_view tag) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == text.npos) return false;
  text = text.substr(begin, tag.size());
  return std::ranges::equal(text, tag, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
  });
}

// What a text file is, or empty.
std::string_view TextKind(std::string_view text) {
  if (BeginsWithTag(text, "<!doctype html") || BeginsWithTag(text, "<html")) {
    return "a web page, not a picture: what was saved is the page that shows it, or an error page";
  }
  const bool is_xml = BeginsWithTag(text, "<?xml") || BeginsWithTag(text, "<!doctype svg");
  if (BeginsWithTag(text, "<svg") ||
      (is_xml && text.substr(0, 1024).find("<svg") != std::string_view::npos)) {
    return "an SVG drawing, which is not read: make a PNG of it";
  }
  if (text.starts_with("version https://git-lfs.github.com/spec/")) {
    return "a Git LFS pointer, not the picture itself: fetch it with `git lfs pull`";
  }
  return {};
}

}  // namespace

ImageFileKind ImageFileKindOf(std::span<const std::byte> bytes) {
  const std::string_view text = TextOf(bytes);
  if (text.starts_with("\x89PNG\r\n\x1a\n"sv)) return ImageFileKind::kPng;
  if (text.starts_with("\xff\xd8\xff"sv)) return ImageFileKind::kJpeg;
  if (text.starts_with("RIFF"sv) && text.substr(0, 12).ends_with("WEBP"sv)) {
    return ImageFileKind::kWebp;
  }
  if (text.starts_with("GIF87a"sv) || text.starts_with("GIF89a"sv)) return ImageFileKind::kGif;
  if (text.starts_with("BM"sv)) return ImageFileKind::kBmp;
  return ImageFileKind::kOther;
}

std::string DescribeOtherFile(std::span<const std::byte> bytes) {
  const std::string_view text = TextOf(bytes);
  if (text.empty()) return "an empty file";
  if (const auto kind = TextKind(text); !kind.empty()) return std::string(kind);
  for (const Signature& signature : kOtherFormats) {
    if (text.size() > signature.offset &&
        text.substr(signature.offset).starts_with(signature.bytes)) {
      return fmt::format("{}, which is not read; {}", signature.name, kReadFormats);
    }
  }
  return fmt::format("not a picture that is read ({}): {} bytes that begin [{:02x}]", kReadFormats,
                     bytes.size(), fmt::join(bytes.first(std::min<size_t>(bytes.size(), 8)), " "));
}

}  // namespace expertile
