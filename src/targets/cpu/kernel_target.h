// Opens and closes a region of functions compiled for one instruction set, with g++ and clang++.
// Not for headers that other translation units include: a region must follow every #include.
#pragma once

#define EXPERTILE_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define EXPERTILE_BEGIN_TARGET(features) \
  EXPERTILE_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define EXPERTILE_END_TARGET EXPERTILE_PRAGMA(clang attribute pop)
#else
#define EXPERTILE_BEGIN_TARGET(features) \
  EXPERTILE_PRAGMA(GCC push_options) EXPERTILE_PRAGMA(GCC target(features))
#define EXPERTILE_END_TARGET EXPERTILE_PRAGMA(GCC pop_options)
#endif
