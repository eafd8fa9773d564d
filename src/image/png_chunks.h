// The chunks of a PNG file that its picture is made from, found as Pillow finds them.
// Not an inflater: image/png_decoder.cc gives them to libpng.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "expertile/result.h"

namespace expertile {

struct PngChunk {
  std::string_view type;            // 4 letters
  std::span<const std::byte> data;  // in the file's bytes
};

struct PngChunks {
  std::vector<PngChunk> pixels;     // IHDR, PLTE if there is one, the first run of IDAT
  std::vector<PngChunk> texts;      // text that may hold EXIF or XMP
  std::span<const std::byte> exif;  // of eXIf; empty if there is none
};

// Keywords of the texts that PngChunks holds.
inline constexpr std::string_view kPngXmpKeyword = "XML:com.adobe.xmp";
inline constexpr std::string_view kPngExifKeyword = "Raw profile type exif";

// Walks the chunks of a whole file. As in Pillow, every chunk before the pixels must be whole and
// its check sum right; check sums of the pixels and of what follows are not looked at, and the
// file may end between chunks, or within the pixels (of which it then has what it has).
Result<PngChunks> FindPngChunks(std::span<const std::byte> file, std::string_view source_name);

}  // namespace expertile
