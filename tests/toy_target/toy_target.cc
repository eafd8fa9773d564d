#include "tests/toy_target/toy_target.h"

#include <atomic>
#include <utility>

#include "targets/memory_store.h"
#include "targets/reference/reference_program.h"

namespace expertile::toy {
namespace {

std::atomic<int> num_blocks = 0;

// Where a device's would copy: counts what it is given.
class CountingStore : public MemoryStore {
 public:
  Status Begin(const WeightBlock& block) override {
    ++num_blocks;
    return MemoryStore::Begin(block);
  }
};

Result<std::string> ChooseIsa() { return "wood"; }

std::shared_ptr<WeightStore> NewStore() { return std::make_shared<CountingStore>(); }

}  // namespace

TargetRow ToyTarget() {
  return {.name = "toy",
          .about = "the reference's sums under another name",
          .in_process = {ChooseIsa, reference::PackReference, reference::OpenReference, NewStore}};
}

int NumBlocksStored() { return num_blocks; }

}  // namespace expertile::toy
