// The orientation that a picture's EXIF or XMP block gives it.
// Not an EXIF or XMP reader: nothing else of them is looked at.
#pragma once

#include <string_view>

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

// The metadata of a picture that may hold its orientation; empty where the file has none.
struct OrientationSources {
  std::string_view exif;  // a TIFF structure; "Exif\0\0" may stand before it, as in JPEG
  std::string_view xmp;   // XML text
};

// Reads the orientation as Pillow's Image.getexif does: the EXIF tag, and where there is none, the
// first tiff:Orientation of the XMP text. Anything missing, malformed or out of range means
// kTopLeft.
ExifOrientation ReadOrientation(const OrientationSources& sources);

}  // namespace expertile
