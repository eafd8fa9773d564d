// StoredImage: a decoded picture as it lies in its file, with the turn that makes it upright.
// Not a decoder; and it is turned only where its rows are needed, so that no second copy is.
#pragma once

#include <cstdint>

#include "image/exif_orientation.h"
#include "image/rgb_image.h"

namespace expertile {

struct StoredImage {
  RgbImage image;  // as it lies in the file
  ExifOrientation orientation = ExifOrientation::kTopLeft;

  bool is_transposed() const { return orientation >= ExifOrientation::kLeftTop; }
  int64_t upright_height() const { return is_transposed() ? image.width : image.height; }
  int64_t upright_width() const { return is_transposed() ? image.height : image.width; }
};

// Writes rows [first_row, first_row + num_rows) of the upright image, as Pillow's
// ImageOps.exif_transpose turns it, to `rows` [num_rows, upright_width, 3].
void CopyUprightRows(const StoredImage& stored, int64_t first_row, int64_t num_rows, uint8_t* rows);

// The upright image as a whole.
RgbImage TurnUpright(StoredImage stored);

}  // namespace expertile
