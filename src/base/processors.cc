#include "base/processors.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "base/processor_quota.h"

namespace expertile {
namespace {

// What hwloc sees of the machine, as far as this process may use it. Read once: it takes some
// milliseconds, and is only read afterwards.
class Topology {
 public:
  static const Topology& OfThisMachine() {
    static const Topology topology;
    return topology;
  }

  void Bind(int worker, int num_workers) const {
    if (!is_loaded_) return;
    hwloc_topology_t topology = topology_.get();
    hwloc_obj_t root = hwloc_get_root_obj(topology);
    std::vector<hwloc_cpuset_t> sets(num_workers);
    if (hwloc_distrib(topology, &root, 1, sets.data(), num_workers, std::numeric_limits<int>::max(),
                      0) != 0) {
      return;
    }
    hwloc_bitmap_singlify(sets[worker]);
    // A refusal costs speed at most.
    (void)hwloc_set_cpubind(topology, sets[worker], HWLOC_CPUBIND_THREAD);
    for (hwloc_cpuset_t set : sets) hwloc_bitmap_free(set);
  }

 private:
  struct Destroy {
    void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
  };

  Topology() {
    hwloc_topology_t topology = nullptr;
    if (hwloc_topology_init(&topology) != 0) return;
    topology_.reset(topology);
    // Cores, caches and nodes stand in /sys; asking every processor itself is slow.
    (void)hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
    is_loaded_ = hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING |
                                                        HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM) == 0 &&
                 hwloc_topology_load(topology) == 0;
  }

  std::unique_ptr<hwloc_topology, Destroy> topology_;
  bool is_loaded_ = false;
};

}  // namespace

int NumAllowedProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

// A worker that is out of time stops the others at the next barrier: a fraction of a processor
// is left to the rest of the process.
int NumUsableProcessors() {
  const int allowed = NumAllowedProcessors();
  const std::optional<double> quota = ProcessorQuota();
  if (!quota || *quota >= allowed) return allowed;
  return std::max(1, static_cast<int>(*quota));
}

void BindToProcessor(int worker, int num_workers) {
  Topology::OfThisMachine().Bind(worker, num_workers);
}

}  // namespace expertile
