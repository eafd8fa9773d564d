// EXPERTILE_DCHECK: states what the programmer has guaranteed; checked in debug and sanitizer
// builds. Not for input of any kind: that is refused with an Error (base/error.h).
#pragma once

#if !defined(NDEBUG) || defined(EXPERTILE_DCHECKS)
#include <cstdio>
#include <cstdlib>
#define EXPERTILE_DCHECK(condition)                                                       \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: DCHECK failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
#else
#define EXPERTILE_DCHECK(condition) \
  do {                              \
    (void)sizeof(condition);        \
  } while (false)
#endif
