// The original's documented examples of disaggregated serving, argument by argument as the compiler
// gets them. Sources, all in quic/efficient-transformers: examples/disagg_serving/
//   qwen3moe_disagg_mode_with_chunking.py at 03e9610, gpt_oss_disagg_mode_with_chunking.py at
//   1f73e46, gpt_oss_disagg_mode.py at 2ffa05c, qwen3_vl_mdp_compile.py at 38f2d5b;
// examples/image_text_to_text/models/qwen3_vl_moe/qwen3_vl_disagg_mode_with_kv_share.py at 86d842f.
// Where tensor slicing stands among the arguments is that of the main branch at ebf55e8.
#include <gtest/gtest.h>

#include "program/qaic/custom_io.h"
#include "program/qaic/recorder.h"

namespace expertile::qaic {
namespace {

class DisaggExamples : public RecorderTest {
 protected:
  static LanguageShapes Decode(int64_t ctx_len) {
    LanguageShapes shapes;
    shapes.prefill_seq_len = 1;
    shapes.ctx_len = ctx_len;
    return shapes;
  }
  static LanguageShapes ChunkedPrefill(int64_t prefill_seq_len, int64_t ctx_len) {
    LanguageShapes shapes;
    shapes.prefill_seq_len = prefill_seq_len;
    shapes.ctx_len = ctx_len;
    shapes.prefill_only = true;
    shapes.enable_chunking = true;
    return shapes;
  }
  // 354 x 536 pixels.
  static VisionShapes Image() {
    VisionShapes image;
    image.grid_h = 22;
    image.grid_w = 34;
    image.patch_size = 1536;
    image.num_deepstack = 3;
    return image;
  }
  // mxfp6_matmul=True, mxint8_kv_cache=True, as every language graph of the examples.
  QaicCompile Language(const LanguageShapes& shapes, int num_cores,
                       const std::vector<std::string>& passed) const {
    QaicCompile compile = SmallCompile();
    compile.specializations = LanguageSpecializations(shapes).value();
    std::vector<std::string> inputs = {"input_ids", "position_ids", "past_key.0", "past_value.0"};
    std::vector<std::string> outputs = {"logits", "past_key.0_RetainedState",
                                        "past_value.0_RetainedState"};
    compile.custom_io_yaml = CustomIoYaml(inputs, outputs, KvPrecision::kMxint8).value();
    compile.flags.num_cores = num_cores;
    compile.flags.mxfp6_matmul = true;
    for (const std::string& option : passed) {
      compile.flags.passed.push_back(ParsePassedOption(option).value());
    }
    return compile;
  }
  static GraphOutline Layers(int num_layers) {
    GraphOutline graph;
    for (int i = 0; i < num_layers; ++i) {
      graph.nodes.push_back({"/model/layers." + std::to_string(i) + "/mlp", "MatMul", {"x"}, {}});
    }
    return graph;
  }
  // The arguments, one a line.
  std::string Compiled(const QaicCompile& compile) const {
    const QaicProgram program = Run(compile).value();
    EXPECT_EQ(program.state, QaicProgram::State::kCompiled);
    std::string text = "\n";
    for (const std::string& argument : Recorded(program.folder)) text += argument + "\n";
    return text;
  }
};

TEST_F(DisaggExamples, Qwen3MoeDecode) {
  EXPECT_EQ(Compiled(Language(Decode(1536), 4, {"mos=1", "aic_enable_depth_first"})), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=4
-mos=1
-aic-enable-depth-first
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, Qwen3MoePrefillOnOneDevice) {
  QaicCompile compile =
      Language(ChunkedPrefill(512, 1536), 4, {"split_retained_state_io", "mos=1", "user_tiled"});
  compile.flags.sub_functions = true;
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=4
-split-retained-state-io
-mos=1
-user-tiled
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, Qwen3MoePrefillInTwoStages) {
  QaicCompile compile =
      Language(ChunkedPrefill(512, 1536), 4, {"split_retained_state_io", "mos=1", "user_tiled"});
  compile.flags.sub_functions = true;
  compile.partition = Pipeline(Layers(48), 48, 2, 2, 4).value();
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-mdp-load-partition-config=<dir>/mdp_disagg_2d_2p.json
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=4
-split-retained-state-io
-mos=1
-user-tiled
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, GptOssDecodeWithFullCache) {
  const std::string precision = folder_ / "non_subfunction_120b_npi.yaml";
  Write(precision, "FP32NodeInstanceNames:\n");
  LanguageShapes shapes = Decode(1024);
  shapes.sliding_window = 128;
  QaicCompile compile =
      Language(shapes, 4, {"mos=1", "aic_enable_depth_first", "node_precision_info=" + precision});
  compile.flags.sub_functions = true;
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=4
-mos=1
-aic-enable-depth-first
-node-precision-info=<onnx>/non_subfunction_120b_npi.yaml
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, GptOssChunkedPrefill) {
  const std::string precision = folder_ / "subfunction_120b_npi.yaml";
  Write(precision, "FP32NodeInstanceNames:\n");
  LanguageShapes shapes = ChunkedPrefill(512, 1024);
  shapes.sliding_window = 128;
  QaicCompile compile =
      Language(shapes, 4, {"mos=1", "user_tiled", "node_precision_info=" + precision});
  compile.flags.sub_functions = true;
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=4
-mos=1
-user-tiled
-node-precision-info=<onnx>/subfunction_120b_npi.yaml
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, GptOssWholePromptAtOnce) {
  LanguageShapes prefill = ChunkedPrefill(256, 256);
  prefill.enable_chunking = false;
  LanguageShapes decode = Decode(256);
  for (LanguageShapes shapes : {prefill, decode}) {
    shapes.sliding_window = 128;
    QaicCompile compile = Language(shapes, 16, {"mos=1", "aic_enable_depth_first"});
    compile.flags.sub_functions = true;
    EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=16
-mos=1
-aic-enable-depth-first
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
  }
}

// The original compiles vision graphs without MXFP6 even where the example asks for it.
TEST_F(DisaggExamples, Qwen3VlVision) {
  QaicCompile compile =
      Language(Decode(4096), 16, {"mos=1", "aic_enable_depth_first", "split_model_io"});
  compile.specializations = {VisionSpecialization(Image()).value()};
  compile.flags.retained_state = false;
  compile.flags.mxfp6_matmul = false;
  compile.flags.sub_functions = true;
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-convert-to-fp16
-aic-num-cores=16
-mos=1
-aic-enable-depth-first
-split-model-io
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, Qwen3VlDecodeSlicedOverFourDevices) {
  LanguageShapes shapes = Decode(4096);
  shapes.prefill_only = false;
  shapes.vision = Image();
  QaicCompile compile =
      Language(shapes, 16, {"split_retained_state_io", "mos=1", "aic_enable_depth_first"});
  compile.flags.sub_functions = true;
  compile.partition = TensorSlicing(4, 16).value();
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=16
-split-retained-state-io
-mos=1
-aic-enable-depth-first
-sub-functions
-mdp-load-partition-config=<dir>/mdp_ts_4.json
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, Qwen3VlPrefillInFourStagesOfTwoDevices) {
  LanguageShapes shapes = ChunkedPrefill(128, 4096);
  shapes.vision = Image();
  QaicCompile compile = Language(shapes, 16, {"split_retained_state_io", "mos=1", "user_tiled"});
  compile.flags.sub_functions = true;
  compile.partition = Pipeline(Layers(48), 48, 4, 8, 16).value();
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-mdp-load-partition-config=<dir>/mdp_disagg_8d_4p.json
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=16
-split-retained-state-io
-mos=1
-user-tiled
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

TEST_F(DisaggExamples, Qwen3VlPrefillPartitioned) {
  LanguageShapes shapes = ChunkedPrefill(128, 4096);
  shapes.vision = Image();
  QaicCompile compile = Language(shapes, 16, {"mos=1", "split_model_io", "aic_enable_depth_first"});
  compile.flags.sub_functions = true;
  compile.partition = Pipeline(Layers(48), 48, 2, 4, 16).value();
  EXPECT_EQ(Compiled(compile), R"(
-aic-hw
-aic-hw-version=ai100
-m=<onnx>/model.onnx
-mdp-load-partition-config=<dir>/mdp_disagg_4d_2p.json
-retained-state
-convert-to-fp16
-mxfp6-matmul
-aic-num-cores=16
-mos=1
-split-model-io
-aic-enable-depth-first
-sub-functions
-network-specialization-config=<dir>/specializations.json
-custom-IO-list-file=<dir>/custom_io.yaml
-aic-binary-dir=<dir>/qpc
)");
}

}  // namespace
}  // namespace expertile::qaic
