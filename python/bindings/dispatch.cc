// Dispatch as arrays.
#include "expertile/dispatch.h"

#include "python/bindings/bindings.h"

namespace expertile::python {
namespace {

using Ids2 = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Routing RoutingOf(const Ids2& ids, int num_experts) {
  return {{ids.data(), ids.size()}, static_cast<int>(ids.shape(1)), num_experts};
}

nb::dict Placement(int num_experts, int num_nsp) {
  ExpertPlacement placed = Unwrap(PlaceExperts(num_experts, num_nsp));
  const auto size = static_cast<size_t>(num_experts);
  nb::dict result;
  result["nsp"] = ToArray(std::move(placed.nsp), {size});
  result["slot"] = ToArray(std::move(placed.slot), {size});
  result["table"] = ToArray(std::move(placed.table), {static_cast<size_t>(placed.num_nsp),
                                                      static_cast<size_t>(placed.local_experts)});
  return result;
}

nb::dict Matched(const Ids2& ids, int num_experts) {
  MatchedAssignments matched = Unwrap(MatchAssignments(RoutingOf(ids, num_experts)));
  const size_t offsets = matched.offsets.size();
  const size_t assignments = matched.assignments.size();
  nb::dict result;
  result["offsets"] = ToArray(std::move(matched.offsets), {offsets});
  result["assignments"] = ToArray(std::move(matched.assignments), {assignments});
  return result;
}

nb::dict Chunks(const Ids2& ids, int num_experts, int num_nsp, int64_t packed_chunk_size) {
  PlannedChunks planned =
      Unwrap(PlanChunks(RoutingOf(ids, num_experts), num_nsp, packed_chunk_size));
  std::vector<int32_t> rows;
  for (const PlannedChunk& chunk : planned.chunks) {
    rows.insert(rows.end(), {chunk.expert, chunk.nsp, chunk.slot, chunk.begin, chunk.end});
  }
  const size_t offsets = planned.nsp_offsets.size();
  nb::dict result;
  result["chunks"] = ToArray(std::move(rows), {planned.chunks.size(), 5});
  result["nsp_offsets"] = ToArray(std::move(planned.nsp_offsets), {offsets});
  return result;
}

nb::dict Balance(const Ids2& ids, int num_experts, int num_nsp, int64_t packed_chunk_size,
                 int num_workers) {
  DispatchBalance balance =
      Unwrap(BalanceOf(RoutingOf(ids, num_experts), num_nsp, packed_chunk_size, num_workers));
  const size_t size = balance.nsp_rows.size();
  nb::dict result;
  result["nsp_rows"] = ToArray(std::move(balance.nsp_rows), {size});
  result["num_chunks"] = balance.num_chunks;
  result["nsp_imbalance"] = balance.nsp_imbalance;
  result["worker_imbalance"] = balance.worker_imbalance;
  return result;
}

}  // namespace

void BindDispatch(nb::module_& module) {
  module.def("placement", Placement, nb::arg("num_experts"), nb::arg("num_nsp"));
  module.def("matched_index", Matched, nb::arg("topk_ids"), nb::arg("num_experts"));
  module.def("chunk_plan", Chunks, nb::arg("topk_ids"), nb::arg("num_experts"), nb::arg("num_nsp"),
             nb::arg("packed_chunk_size"));
  module.def("balance", Balance, nb::arg("topk_ids"), nb::arg("num_experts"), nb::arg("num_nsp"),
             nb::arg("packed_chunk_size"), nb::arg("num_workers"));
}

}  // namespace expertile::python
