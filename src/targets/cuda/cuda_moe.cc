// The CUDA target's MLPs: the router, the plan of a MoE layer, its two products and their sum.
#include <utility>

#include "dispatch/chunk_plan.h"
#include "targets/cuda/cuda_ops.h"
#include "targets/cuda/kernels/pack_rows.h"

namespace expertile::cuda {

// Where a MoE layer's rows go: made on the device, never seen by the host.
struct CudaOps::Plan {
  PlanArgs args = {};           // of how it is made, and where it lies in `memory`
  int64_t num_assignments = 0;  // T K
  int experts_per_token = 1;    // K
  int64_t stored_rows = 0;      // room for the assignments' rows in tiles
  int64_t max_row_tiles = 0;
  TileShape shape = {};  // whose rows the tiles have at most
  std::shared_ptr<std::byte> memory = {};
};

CudaOps::Routing CudaOps::Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                                const Inputs&) {
  const Tensor logits = Multiply(SplitOf(x), router);  // [T,E]
  return ChooseExperts(logits.floats(), logits.stride, x.rows, static_cast<int>(router.out), spec);
}

// Memory for the plan of a step's tokens, as PlanArgs has it. Blocking is for prefill: without it,
// and in decode, all multiprocessors are one NSP.
void CudaOps::NewPlan(int64_t num_tokens, int experts_per_token, int num_experts, Plan& plan) {
  const MoeBlocking& blocking = context_.options.blocking;
  const bool is_blocked = blocking.num_nsp > 0 && !IsGathered(num_tokens);
  const int64_t chunk = is_blocked ? blocking.packed_chunk_size : 0;
  plan.num_assignments = num_tokens * experts_per_token;
  plan.experts_per_token = experts_per_token;
  plan.stored_rows = MaxStoredRows(plan.num_assignments, num_experts, chunk);
  PlanArgs& args = plan.args;
  args.num_nsp = is_blocked ? blocking.num_nsp : 1;
  args.packed_chunk_size = chunk;
  plan.shape = context_.has_mxfp4_experts ? ChooseMxfp4Shape(plan.num_assignments, num_experts)
                                          : ChooseTileShape(plan.num_assignments, num_experts, 0,
                                                            context_.device.num_processors);
  args.tile_rows = plan.shape.rows;
  args.has_even_tiles = context_.has_mxfp4_experts;
  plan.max_row_tiles = MaxRowTiles(plan.num_assignments, num_experts, chunk, args.tile_rows);
  const int64_t marks = NumTokenBlocks(num_tokens) * num_experts;
  const int64_t words = 2 * marks + num_experts + plan.num_assignments + num_experts + 1 +
                        args.num_nsp + 1 + 2 * args.num_nsp;
  plan.memory = NewBuffer(plan.max_row_tiles * static_cast<int64_t>(sizeof(RowTile)) +
                          words * static_cast<int64_t>(sizeof(int32_t)));
  args.row_tiles = reinterpret_cast<RowTile*>(plan.memory.get());
  args.marks = reinterpret_cast<uint32_t*>(args.row_tiles + plan.max_row_tiles);
  args.before = reinterpret_cast<int32_t*>(args.marks + marks);
  args.counts = args.before + marks;
  args.assignments = args.counts + num_experts;
  args.offsets = args.assignments + plan.num_assignments;
  args.nsp_offsets = args.offsets + num_experts + 1;
  args.claims = args.nsp_offsets + args.num_nsp + 1;
  args.nsp_rows = is_blocked && is_counted_ ? nsp_rows_.As<unsigned long long>() : nullptr;
}

CudaOps::Routing CudaOps::ChooseExperts(const float* logits, int64_t stride, int64_t num_tokens,
                                        int num_experts, const RouterSpec& spec) {
  const int64_t size = num_tokens * spec.experts_per_token;
  Routing routing{spec.experts_per_token, NewBuffer(size * static_cast<int64_t>(sizeof(int32_t))),
                  NewBuffer(size * static_cast<int64_t>(sizeof(float))), std::make_shared<Plan>()};
  NewPlan(num_tokens, spec.experts_per_token, num_experts, *routing.plan);
  Run("routing", [&] {
    return LaunchRouting({.logits = logits,
                          .logits_stride = stride,
                          .num_tokens = num_tokens,
                          .num_experts = num_experts,
                          .experts_per_token = spec.experts_per_token,
                          .score = spec.score,
                          .normalize = spec.normalize,
                          .ids = reinterpret_cast<int32_t*>(routing.ids.get()),
                          .weights = reinterpret_cast<float*>(routing.weights.get())},
                         routing.plan->args, stream());
  });
  return routing;
}

namespace {

int TilesOf(int64_t depth) { return static_cast<int>(RoundUp(depth, kTileDepth) / kTileDepth); }

}  // namespace

// The rows that `product` gathers, in tiles, which it takes from now on.
std::shared_ptr<std::byte> CudaOps::PackRows(const Plan& plan, GemmArgs& product) {
  const auto packed = NewBuffer(plan.stored_rows * product.depth_tiles * kTileDepth * 2);
  PackRowsArgs args{.rows = product.rows,
                    .row_stride = product.row_stride,
                    .depth_tiles = product.depth_tiles,
                    .gather = product.gather,
                    .gather_divisor = product.gather_divisor,
                    .row_tiles = plan.args.row_tiles,
                    .num_row_tiles = plan.args.nsp_offsets + plan.args.num_nsp,
                    .max_row_tiles = plan.max_row_tiles,
                    .tile_rows = plan.args.tile_rows,
                    .packed = reinterpret_cast<__nv_bfloat16*>(packed.get()),
                    .stored_rows = plan.stored_rows};
  Run("packed rows", [&] { return LaunchPackRows(args, stream()); });
  product.rows = args.packed;
  product.stored_rows = plan.stored_rows;
  product.gather = nullptr;
  return packed;
}

// Both products of experts take their rows as the plan has them.
void CudaOps::FollowPlan(const Plan& plan, GemmArgs& gate_up, GemmArgs& down) {
  gate_up.gather = plan.args.assignments;
  gate_up.gather_divisor = plan.experts_per_token;
  down.scatter = plan.args.assignments;
  for (GemmArgs* args : {&gate_up, &down}) {
    args->row_tiles = plan.args.row_tiles;
    args->nsp_offsets = plan.args.nsp_offsets;
    args->num_nsp = plan.args.num_nsp;
  }
  // Gate and up of few rows let down begin once the plan is there (gemm_few_rows.cu).
  down.is_plan_there = plan.shape == kFewRowsTile;
  gate_up.claims = plan.args.claims;
  down.claims = plan.args.claims + plan.args.num_nsp;
}

void CudaOps::RunMlp(const Tensor& x, const DeviceMlp& mlp, const GatedMlpSpec& spec,
                     const Plan* plan, void* out, int64_t out_stride) {
  const int processors = context_.device.num_processors;
  const int64_t num_rows = plan != nullptr ? plan->num_assignments : x.rows;
  const int64_t stored_rows = plan != nullptr ? plan->stored_rows : RoundUp(num_rows, 8);
  const auto activated = NewBuffer(stored_rows * mlp.gate_up.columns);  // in tiles
  GemmArgs gate_up{.rows = x.bfloats(),
                   .row_stride = x.stride,
                   .depth_tiles = TilesOf(mlp.hidden_size),
                   .wrap_tiles = TilesOf(mlp.hidden_size),
                   .weights = {mlp.gate_up},
                   .out = activated.get(),
                   .out_stored_rows = stored_rows,
                   .num_rows = num_rows,
                   .most_rows = x.rows,
                   .limit = spec.limit,
                   .alpha = spec.alpha};
  GemmArgs down{.rows = reinterpret_cast<const __nv_bfloat16*>(activated.get()),
                .stored_rows = stored_rows,
                .depth_tiles = TilesOf(mlp.intermediate_size),
                .wrap_tiles = TilesOf(mlp.intermediate_size),
                .weights = {mlp.down},
                .out = out,
                .out_stride = out_stride,
                .num_rows = num_rows,
                .most_rows = x.rows};
  if (plan != nullptr) FollowPlan(*plan, gate_up, down);
  if (num_rows == 0) return;
  const auto shape_of = [&](const GemmArgs& args) {
    const bool is_mxfp4 = args.weights[0].scales != nullptr && plan != nullptr;
    return is_mxfp4 ? plan->shape
                    : ChooseTileShape(num_rows, mlp.count, args.weights[0].columns, processors);
  };
  const auto launch = [&](const GemmArgs& args, Epilogue epilogue) {
    return LaunchGemm(args, shape_of(args), epilogue, processors, stream());
  };
  std::shared_ptr<std::byte> packed;
  if (plan != nullptr && PacksRows(shape_of(gate_up), mlp.gate_up.scales != nullptr, num_rows,
                                   mlp.count, mlp.gate_up.columns, plan->args.packed_chunk_size)) {
    packed = PackRows(*plan, gate_up);
  }
  Run("gate and up", [&] {
    return launch(gate_up,
                  spec.activation == GatedActivation::kSilu ? Epilogue::kSilu : Epilogue::kSwiGlu);
  });
  packed = nullptr;
  Run("down",
      [&] { return launch(down, plan != nullptr ? Epilogue::kBFloat16 : Epilogue::kFloat32); });
}

Tensor CudaOps::Moe(const Tensor& x, const Routing& routing, const Experts& experts,
                    const GatedMlpSpec& spec) {
  const int K = routing.experts_per_token;
  const Tensor rows = SplitOf(x);
  const int64_t stride = experts.down.columns;
  const auto outputs = NewBuffer(x.rows * K * stride * 2);  // [T K, H], row t K + k
  RunMlp(rows, experts, spec, routing.plan.get(), outputs.get(), stride);
  return {.data = outputs,
          .form = Tensor::Form::kExperts,
          .rows = x.rows,
          .width = x.width,
          .stride = stride,
          .weights = routing.weights,
          .experts_per_token = K};
}

Tensor CudaOps::GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec) {
  Tensor y = NewFloats(x.rows, x.width);
  RunMlp(SplitOf(x), mlp, spec, nullptr, y.floats(), y.stride);
  return y;
}

Tensor CudaOps::SplitOf(const Tensor& x) {
  if (x.form == Tensor::Form::kSplit) return x;
  Tensor y = NewSplit(x.rows, x.width);
  Run("split", [&] { return LaunchSplit(x.floats(), y.split(), stream()); });
  return y;
}

}  // namespace expertile::cuda
