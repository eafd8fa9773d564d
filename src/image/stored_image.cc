#include "image/stored_image.h"

#include <algorithm>
#include <utility>

namespace expertile {
namespace {

// Whether the stored column (row) index runs against the upright axis that it lies along.
bool IsColumnReversed(ExifOrientation orientation) {
  const int code = static_cast<int>(orientation);
  return code == 2 || code == 3 || code == 7 || code == 8;
}
bool IsRowReversed(ExifOrientation orientation) {
  const int code = static_cast<int>(orientation);
  return code == 3 || code == 4 || code == 6 || code == 7;
}

void CopyPixel(const uint8_t* from, uint8_t* to) { std::copy_n(from, kRgbChannels, to); }

void CopyRow(const RgbImage& image, int64_t row, bool reversed, uint8_t* to) {
  const uint8_t* from = image.row(row);
  if (!reversed) {
    std::copy_n(from, image.width * kRgbChannels, to);
    return;
  }
  for (int64_t x = image.width - 1; x >= 0; --x, to += kRgbChannels) {
    CopyPixel(from + x * kRgbChannels, to);
  }
}

// Upright rows [first_row, first_row + num_rows) are as many stored columns. Walks the stored rows,
// so that each is read in one run.
void CopyColumns(const StoredImage& stored, int64_t first_row, int64_t num_rows, uint8_t* rows) {
  const RgbImage& image = stored.image;
  const bool column_reversed = IsColumnReversed(stored.orientation);
  const bool row_reversed = IsRowReversed(stored.orientation);
  for (int64_t row = 0; row < image.height; ++row) {
    const int64_t x = row_reversed ? image.height - 1 - row : row;
    for (int64_t i = 0; i < num_rows; ++i) {
      const int64_t y = first_row + i;
      const int64_t column = column_reversed ? image.width - 1 - y : y;
      CopyPixel(image.row(row) + column * kRgbChannels,
                rows + (i * image.height + x) * kRgbChannels);
    }
  }
}

}  // namespace

void CopyUprightRows(const StoredImage& stored, int64_t first_row, int64_t num_rows,
                     uint8_t* rows) {
  if (stored.is_transposed()) return CopyColumns(stored, first_row, num_rows, rows);
  const bool column_reversed = IsColumnReversed(stored.orientation);
  const bool row_reversed = IsRowReversed(stored.orientation);
  for (int64_t y = first_row; y < first_row + num_rows; ++y) {
    const int64_t row = row_reversed ? stored.image.height - 1 - y : y;
    CopyRow(stored.image, row, column_reversed, rows);
    rows += stored.image.width * kRgbChannels;
  }
}

RgbImage TurnUpright(StoredImage stored) {
  if (stored.orientation == ExifOrientation::kTopLeft) return std::move(stored.image);
  RgbImage upright = BlackImage(stored.upright_height(), stored.upright_width());
  CopyUprightRows(stored, 0, upright.height, upright.samples.data());
  return upright;
}

}  // namespace expertile
