#include "base/processor_quota.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace expertile {
namespace {

namespace fs = std::filesystem;

// A mounted hierarchy of control groups, and this process's group in it.
struct Hierarchy {
  fs::path mount;  // where its root, or the container's, is mounted
  fs::path group;  // relative to that; empty for the root
  bool is_v2;
};

bool HasWord(std::string_view list, std::string_view word) {
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (list.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

// Lines are NUMBER:CONTROLLERS:PATH, version 2's without controllers.
std::optional<fs::path> GroupPath(const fs::path& root, bool is_v2) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    if (is_v2 ? controllers.empty() : HasWord(controllers, "cpu")) {
      return fs::path(line.substr(second + 1));
    }
  }
  return std::nullopt;
}

// A group as seen below a mount of `mounted`, which a container may have instead of the whole
// hierarchy: one that lies elsewhere is the mount's root.
fs::path BelowMount(const fs::path& group, const fs::path& mounted) {
  const fs::path relative = group.lexically_relative(mounted);
  const bool is_below = !relative.empty() && *relative.begin() != "..";
  return is_below && relative != "." ? relative : fs::path();
}

// Of mountinfo: ID PARENT DEVICE MOUNTED MOUNT OPTIONS... - TYPE SOURCE OPTIONS.
std::vector<Hierarchy> Hierarchies(const fs::path& root) {
  std::vector<Hierarchy> found;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash));
    std::istringstream after(line.substr(dash + 3));
    std::string skipped, mounted, mount, type, options;
    before >> skipped >> skipped >> skipped >> mounted >> mount;
    after >> type >> skipped >> options;
    const bool is_v2 = type == "cgroup2";
    if (!is_v2 && !(type == "cgroup" && HasWord(options, "cpu"))) continue;
    const std::optional<fs::path> group = GroupPath(root, is_v2);
    if (!group || mount.empty()) continue;
    found.push_back({root / fs::path(mount).relative_path(), BelowMount(*group, mounted), is_v2});
  }
  return found;
}

// "QUOTA PERIOD" or "max PERIOD" in one file, or a quota (-1: none) and a period in two.
std::optional<double> QuotaOf(const fs::path& group, bool is_v2) {
  double quota = 0.0;
  double period = 0.0;
  if (is_v2) {
    std::ifstream(group / "cpu.max") >> quota >> period;
  } else {
    std::ifstream(group / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  }
  if (!(quota > 0.0) || !(period > 0.0)) return std::nullopt;
  return quota / period;
}

}  // namespace

std::optional<double> ProcessorQuota(const fs::path& root) {
  std::optional<double> least;
  for (const Hierarchy& hierarchy : Hierarchies(root)) {
    fs::path group = hierarchy.group;
    while (true) {
      const std::optional<double> quota = QuotaOf(hierarchy.mount / group, hierarchy.is_v2);
      if (quota) least = std::min(*quota, least.value_or(*quota));
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
  return least;
}

}  // namespace expertile
