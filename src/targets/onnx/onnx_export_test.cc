// Exports of the tiny checkpoints: valid graphs, or errors that name the file.
#include "targets/onnx/onnx_export.h"

#include <filesystem>
#include <string>
#include <vector>

#include "base/temporary_folder.h"
#include "targets/onnx/graph_outline.h"
#include "targets/onnx/saved_model.h"

namespace expertile::onnx_target {
namespace {

std::shared_ptr<const Checkpoint> Load(const std::string& name) {
  const std::filesystem::path models = std::filesystem::path(EXPERTILE_SOURCE_DIR) / "models";
  return LoadCheckpoint(models / name).value();
}

class ExportDecoderTest : public ::testing::TestWithParam<std::string> {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "model.onnx";
};

TEST_P(ExportDecoderTest, MakesAValidGraphOfEveryKind) {
  const auto checkpoint = Load(GetParam());
  const size_t num_layers = checkpoint->config.spec.layers.size();
  for (const StepKind kind : {StepKind::kPrefill, StepKind::kDecode}) {
    std::vector<int64_t> done;
    const Watch on_layer = [&](int64_t layer, int64_t total) -> Status {
      done.push_back(layer);
      EXPECT_EQ(total, static_cast<int64_t>(num_layers));
      return {};
    };
    const GraphOptions options{
        .kind = kind, .blocking = {16, 8}, .max_rows = 16, .ctx_len = 32, .use_subfunctions = true};
    const Status status = ExportDecoder(*checkpoint, options, file_, on_layer);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(done.size(), num_layers);
    EXPECT_EQ(done.back(), static_cast<int64_t>(num_layers));
    ExpectValid(ReadModel(file_), {{"batch_size", 1}, {"seq_len", 16}, {"ctx_len", 32}});
  }
}

// What the outline says is what the model has.
TEST_P(ExportDecoderTest, HasTheOutlineThatIsReadOfIt) {
  GraphOptions options;
  options.kind = StepKind::kDecode;
  options.ctx_len = 32;
  options.use_subfunctions = true;
  ASSERT_TRUE(ExportDecoder(*Load(GetParam()), options, file_, {}));
  const ::onnx::ModelProto model = ReadModel(file_);
  const auto outline = ReadGraphOutline(file_);
  ASSERT_TRUE(outline);
  EXPECT_EQ(outline->inputs, NamesOf(model.graph().input()));
  EXPECT_EQ(outline->outputs, NamesOf(model.graph().output()));
  EXPECT_EQ(outline->nodes.size(), static_cast<size_t>(model.graph().node_size()));
  EXPECT_EQ(outline->constants.size(), static_cast<size_t>(model.graph().initializer_size()));
  EXPECT_EQ(outline->functions.size(), static_cast<size_t>(model.functions_size()));
}

TEST_P(ExportDecoderTest, SaysWhichFileCannotBeWritten) {
  const std::filesystem::path file = folder_ / "none" / "model.onnx";
  const Status status = ExportDecoder(*Load(GetParam()), {}, file, {});
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find(file.string()), std::string::npos);
}

TEST_P(ExportDecoderTest, RefusesMoreNspsThanExperts) {
  GraphOptions options;
  options.blocking.num_nsp = 1000;
  EXPECT_FALSE(ExportDecoder(*Load(GetParam()), options, file_, {}));
  EXPECT_FALSE(std::filesystem::exists(file_));
}

INSTANTIATE_TEST_SUITE_P(Families, ExportDecoderTest,
                         ::testing::Values("tiny-qwen3_moe", "tiny-granitemoe", "tiny-gpt_oss",
                                           "tiny-qwen3_vl_moe"),
                         [](const auto& each) { return each.param.substr(5); });

TEST(ExportVision, MakesAValidGraphForAGrid) {
  const TemporaryFolder folder;
  const auto checkpoint = Load("tiny-qwen3_vl_moe");
  ImageGrid grid;
  grid.t = 1;
  grid.h = 4;
  grid.w = 6;
  const Status status = ExportVision(*checkpoint, grid, folder / "vision.onnx");
  ASSERT_TRUE(status) << status.error().message;
  const ::onnx::ModelProto model = ReadModel(folder / "vision.onnx");
  ExpectValid(model, {});
  const VisionSpec& spec = checkpoint->config.vision->spec;
  const auto& rows = Find(model.graph().output(), "vision_embeds").type().tensor_type().shape();
  EXPECT_EQ(rows.dim(1).dim_value(), grid.num_tokens(spec.prompt.merge_size));
  EXPECT_EQ(rows.dim(2).dim_value(), spec.output_size);
  const auto& features =
      Find(model.graph().output(), "deepstack_features").type().tensor_type().shape();
  EXPECT_EQ(features.dim(0).dim_value(), static_cast<int64_t>(spec.deepstack_blocks.size()));
  EXPECT_FALSE(ExportVision(*checkpoint, grid, folder / "none" / "vision.onnx"));
}

TEST(GraphOutline, IsRefusedOfWhatIsNoModel) {
  const TemporaryFolder folder;
  EXPECT_FALSE(ReadGraphOutline(folder / "none.onnx"));
  std::ofstream(folder / "text.onnx") << "no model";
  const auto outline = ReadGraphOutline(folder / "text.onnx");
  ASSERT_FALSE(outline);
  EXPECT_NE(outline.error().message.find("text.onnx"), std::string::npos);
}

}  // namespace
}  // namespace expertile::onnx_target
