// The orientation tag of an EXIF block, and turning an image upright by it.
// Not an EXIF reader: no other tag is looked at.
#pragma once

#include <cstddef>
#include <span>

#include "image/rgb_image.h"

namespace expertile {

// Where the stored image's first row and first column lie in the upright image (EXIF 2.3, tag
// 0x0112). The values are the tag's.
enum class ExifOrientation {
  kTopLeft = 1,
  kTopRight = 2,
  kBottomRight = 3,
  kBottomLeft = 4,
  kLeftTop = 5,
  kRightTop = 6,
  kRightBottom = 7,
  kLeftBottom = 8,
};

// Reads the orientation from a TIFF structure (what follows "Exif\0\0" in JPEG, or PNG's eXIf
// chunk). Anything missing or malformed means kTopLeft.
ExifOrientation ReadExifOrientation(std::span<const std::byte> tiff);

// The image as it should be seen: Pillow's ImageOps.exif_transpose.
RgbImage TurnUpright(RgbImage stored, ExifOrientation orientation);

}  // namespace expertile
