// How much processor time this process's control groups allow it: what containers are limited by.
// Not which processors it may run on: base/processors.h.
#pragma once

#include <filesystem>
#include <optional>

namespace expertile {

// In processors, for example 2.5; none without a limit. The least of the process's group and the
// groups around it, as far as it can see them: `cpu.max` of version 2, `cpu.cfs_quota_us` of
// version 1. `root` is the folder that holds proc and sys; another than / is for tests.
std::optional<double> ProcessorQuota(const std::filesystem::path& root = "/");

}  // namespace expertile
