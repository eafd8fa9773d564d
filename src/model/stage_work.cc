#include "model/stage_work.h"

#include <algorithm>
#include <variant>

namespace expertile {
namespace {

constexpr double kFloatBytes = 4.0;  // of an activation

// Keys that the rows see, added up: row p sees min(p + 1, window).
double KeysSeen(const SequenceRows& rows, int64_t window) {
  const int64_t first = rows.begin + 1;          // keys that the first row sees without a window
  const int64_t last = rows.begin + rows.count;  // and the last
  const auto sum_to = [](int64_t n) {
    return static_cast<double>(n) * static_cast<double>(n + 1) / 2;
  };
  if (window == 0 || last <= window) return sum_to(last) - sum_to(first - 1);
  const double whole = first > window ? 0.0 : sum_to(window) - sum_to(first - 1);
  return whole +
         static_cast<double>(window) * static_cast<double>(last - std::max(window, first - 1));
}

// Different keys that any of the rows sees.
double KeysRead(const SequenceRows& rows, int64_t window) {
  const int64_t first = window == 0 ? 0 : std::max<int64_t>(0, rows.begin + 1 - window);
  return rows.count == 0 ? 0.0 : static_cast<double>(rows.begin + rows.count - first);
}

double Bytes(double values, double bits) { return values * bits / 8.0; }

class Counter {
 public:
  Counter(const DecoderSpec& spec, const NumberFormats& formats, const StepShape& step,
          const StageFusion& fusion)
      : spec_(spec),
        formats_(formats),
        step_(step),
        fusion_(fusion),
        H_(static_cast<double>(spec.hidden_size)) {
    for (const SequenceRows& rows : step.sequences) T_ += static_cast<double>(rows.count);
  }

  PerStage<StageWork> Count() {
    const auto R = static_cast<double>(step_.num_wanted_rows);
    work_[Stage::kEmbed].bytes = Bytes(T_ * H_, formats_.embedding) + kFloatBytes * T_ * H_;
    for (const LayerSpec& layer : spec_.layers) {
      std::visit([&](const auto& mixer) { Add(mixer); }, layer.mixer);
      std::visit([&](const auto& mlp) { Add(mlp); }, layer.mlp);
      Norm(2.0 * T_ * H_);
      Residual(2.0);
    }
    Norm(R * H_);
    Product(Stage::kHead, R, H_ * static_cast<double>(spec_.vocab_size), formats_.head);
    // Only the chosen experts' weights are read.
    work_[Stage::kExperts].bytes =
        Bytes(step_.num_experts_read * 3.0 * H_ * static_cast<double>(spec_.moe.intermediate_size),
              formats_.experts);
    return work_;
  }

 private:
  // `rows` through a matrix of `weights` elements.
  void Product(Stage stage, double rows, double weights, double bits) {
    work_[stage].flops += 2.0 * rows * weights;
    if (rows > 0.0) work_[stage].bytes += Bytes(weights, bits);
  }
  // Reads the values and writes them.
  void Norm(double values) { work_[Stage::kNorms].bytes += 2.0 * kFloatBytes * values; }
  // Reads two, writes one; the norm that follows reads one of them anyway.
  void Residual(double times) {
    const double bytes = times * kFloatBytes * T_ * H_;
    if (fusion_.sums) {
      work_[Stage::kNorms].bytes += 2.0 * bytes;
    } else {
      work_[Stage::kResidual].bytes += 3.0 * bytes;
    }
  }
  // Reads K rows a token, writes one; fused, they are what the branch's sum reads instead of it.
  void Combine(double K) {
    if (fusion_.sums) {
      work_[Stage::kNorms].bytes += Bytes(K * T_ * H_, fusion_.row_bits) - kFloatBytes * T_ * H_;
    } else {
      work_[Stage::kCombine].bytes += kFloatBytes * (K + 1.0) * T_ * H_;
    }
  }
  // Rows of `width` for queries, of `kv_width` each for keys and values.
  void Heads(const AttentionSpec& spec, double width, double kv_width) {
    StageWork& write = work_[Stage::kKvWrite];
    write.bytes += Bytes(2.0 * T_ * kv_width, formats_.kv_cache);
    if (fusion_.heads) {
      write.bytes += Bytes(T_ * (2.0 * width + 2.0 * kv_width), fusion_.row_bits);
      return;
    }
    write.bytes += 2.0 * T_ * kv_width * kFloatBytes;
    if (spec.query_key_norm) Norm(T_ * (width + kv_width));
    work_[Stage::kRope].bytes += 2.0 * kFloatBytes * T_ * (width + kv_width);
  }

  void Add(const AttentionSpec& spec) {
    const double width = static_cast<double>(spec.num_heads) * static_cast<double>(spec.head_dim);
    const double kv_width =
        static_cast<double>(spec.num_kv_heads) * static_cast<double>(spec.head_dim);
    Product(Stage::kProjections, T_, H_ * (2.0 * width + 2.0 * kv_width), formats_.projections);
    Heads(spec, width, kv_width);
    StageWork& attention = work_[Stage::kAttention];
    for (const SequenceRows& rows : step_.sequences) {
      attention.flops += 4.0 * width * KeysSeen(rows, spec.window);  // scores and weighted sums
      attention.bytes += Bytes(2.0 * kv_width * KeysRead(rows, spec.window), formats_.kv_cache);
    }
  }

  void Add(const MlpSpec& spec) {
    Product(Stage::kMlp, T_, 3.0 * H_ * static_cast<double>(spec.intermediate_size), formats_.mlp);
  }

  void Add(const MoeSpec& spec) {
    const double K = spec.router.experts_per_token;
    Product(Stage::kRouter, T_, H_ * spec.num_experts, formats_.router);
    work_[Stage::kExperts].flops += 6.0 * T_ * K * H_ * static_cast<double>(spec.intermediate_size);
    Combine(K);
    if (!spec.shared) return;
    Product(Stage::kMlp, T_, 3.0 * H_ * static_cast<double>(spec.shared->intermediate_size),
            formats_.mlp);
    if (spec.shared->has_gate) {
      Product(Stage::kMlp, T_, H_, formats_.router);
    } else {
      Residual(1.0);
    }
  }

  const DecoderSpec& spec_;
  const NumberFormats& formats_;
  const StepShape& step_;
  const StageFusion& fusion_;
  double H_;
  double T_ = 0.0;
  PerStage<StageWork> work_ = {};
};

}  // namespace

std::string_view NameOf(Stage stage) {
  constexpr PerStage<std::string_view> kNames = {
      {"embed", "norms", "projections", "rope", "KV write", "attention", "router", "experts",
       "combine", "MLP", "residual adds", "LM head", "other"}};
  return kNames[stage];
}

PerStage<StageWork> WorkOf(const DecoderSpec& spec, const NumberFormats& formats,
                           const StepShape& step, const StageFusion& fusion) {
  return Counter(spec, formats, step, fusion).Count();
}

}  // namespace expertile
