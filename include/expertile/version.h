// The version of the library and the command line.
// Not a file format's version: formats carry their own.
#pragma once

namespace expertile {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace expertile
