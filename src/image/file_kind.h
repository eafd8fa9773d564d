// What a file is by its first bytes, so that a picture is decoded by the right decoder and another
// file refused by its name. Not a check of the rest of the file.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace expertile {

enum class ImageFileKind { kPng, kJpeg, kWebp, kGif, kBmp, kOther };

ImageFileKind ImageFileKindOf(std::span<const std::byte> bytes);

// Why a file of kind kOther cannot be read, as a person would say it: "an AVIF image, which is not
// read; PNG, JPEG, WebP, GIF and BMP are".
std::string DescribeOtherFile(std::span<const std::byte> bytes);

}  // namespace expertile
