#include "targets/onnx/graph_builder.h"

#include <onnx/onnx_pb.h>

#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "expertile/version.h"
#include "targets/onnx/custom_functions.h"

namespace expertile::onnx_target {
namespace {

constexpr int64_t kIrVersion = 8;
constexpr const char* kConstantPrefix = "constant_";

int TypeOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat:
      return ::onnx::TensorProto::FLOAT;
    case ElementType::kInt32:
      return ::onnx::TensorProto::INT32;
    case ElementType::kInt64:
      return ::onnx::TensorProto::INT64;
  }
  return ::onnx::TensorProto::UNDEFINED;
}

void Describe(const std::string& name, ElementType type, const std::vector<Dimension>& shape,
              ::onnx::ValueInfoProto* info) {
  info->set_name(name);
  auto* tensor = info->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(TypeOf(type));
  auto* dimensions = tensor->mutable_shape();
  for (const Dimension& each : shape) {
    auto* dimension = dimensions->add_dim();
    if (each.name.empty()) {
      dimension->set_dim_value(each.size);
    } else {
      dimension->set_dim_param(each.name);
    }
  }
}

template <typename T>
std::string BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

void SetAttribute(const Attribute& attribute, ::onnx::NodeProto* node) {
  auto* proto = node->add_attribute();
  proto->set_name(attribute.name);
  if (const auto* number = std::get_if<float>(&attribute.value)) {
    proto->set_type(::onnx::AttributeProto::FLOAT);
    proto->set_f(*number);
  } else if (const auto* text = std::get_if<std::string>(&attribute.value)) {
    proto->set_type(::onnx::AttributeProto::STRING);
    proto->set_s(*text);
  } else if (const auto* values = std::get_if<std::vector<int64_t>>(&attribute.value)) {
    proto->set_type(::onnx::AttributeProto::INTS);
    for (const int64_t value : *values) proto->add_ints(value);
  } else {
    proto->set_type(::onnx::AttributeProto::INT);
    proto->set_i(std::get<int64_t>(attribute.value));
  }
}

GraphBuilder::GraphBuilder(std::string graph_name, std::filesystem::path file,
                           int64_t largest_inline_bytes)
    : model_(std::make_unique<::onnx::ModelProto>()),
      graph_(model_->mutable_graph()),
      file_(std::move(file)),
      data_file_(file_.string() + ".data"),
      data_(data_file_, std::ios::binary | std::ios::trunc),
      largest_inline_bytes_(largest_inline_bytes) {
  model_->set_ir_version(kIrVersion);
  model_->set_producer_name("expertile");
  model_->set_producer_version(kVersion);
  graph_->set_name(std::move(graph_name));
}

GraphBuilder::~GraphBuilder() = default;

std::string GraphBuilder::NewName(const std::string& op) {
  const std::string scope = in_layer_ ? layers_.back().name + "/" : "/model/";
  return scope + op + "_" + std::to_string(num_nodes_++);
}

void GraphBuilder::BeginLayer(int index) {
  layers_.push_back({"/model/layers." + std::to_string(index), index, graph_->node_size(), 0});
  in_layer_ = true;
}

void GraphBuilder::EndLayer() {
  layers_.back().end = graph_->node_size();
  in_layer_ = false;
}

void GraphBuilder::FoldLayers(const std::string& name) {
  MakeLayersFunctions(name, kConstantPrefix, layers_, *model_);
}

void GraphBuilder::AddInput(const std::string& name, ElementType type,
                            const std::vector<Dimension>& shape) {
  Describe(name, type, shape, graph_->add_input());
}

void GraphBuilder::AddOutput(const std::string& name, ElementType type,
                             const std::vector<Dimension>& shape) {
  Describe(name, type, shape, graph_->add_output());
}

std::string GraphBuilder::Node(const std::string& op, const Inputs& inputs,
                               const Attributes& attributes) {
  auto* node = graph_->add_node();
  const std::string name = NewName(op);
  node->set_name(name);
  node->set_op_type(op);
  for (const std::string& input : inputs) node->add_input(input);
  for (const Attribute& attribute : attributes) SetAttribute(attribute, node);
  node->add_output(name);
  return name;
}

GraphBuilder::Largest GraphBuilder::TopK(const std::string& rows, int64_t K) {
  const std::string values = Node("TopK", {rows, Ints({K})}, {{"axis", int64_t{-1}}});
  const std::string indices = values + "_indices";
  graph_->mutable_node(graph_->node_size() - 1)->add_output(indices);
  return {values, indices};
}

std::string GraphBuilder::Function(const std::string& op, const Inputs& inputs,
                                   const Attributes& attributes) {
  functions_.insert(op);
  const std::string name = Node(op, inputs, attributes);
  graph_->mutable_node(graph_->node_size() - 1)->set_domain(DomainOf(op));
  return name;
}

void GraphBuilder::NameOutput(const std::string& value, const std::string& output) {
  auto* node = graph_->add_node();
  node->set_name(NewName("Identity"));
  node->set_op_type("Identity");
  node->add_input(value);
  node->add_output(output);
}

std::string GraphBuilder::Constant(const std::string& key, ElementType type,
                                   const std::vector<int64_t>& shape, const std::string& bytes) {
  const auto [position, is_new] = constants_.emplace(key, kConstantPrefix + key);
  if (is_new) {
    auto* tensor = graph_->add_initializer();
    tensor->set_name(position->second);
    tensor->set_data_type(TypeOf(type));
    for (const int64_t size : shape) tensor->add_dims(size);
    tensor->set_raw_data(bytes);
  }
  return position->second;
}

std::string GraphBuilder::Ints(const std::vector<int64_t>& values) {
  return Constant(fmt::format("i64[{}]", fmt::join(values, ",")), ElementType::kInt64,
                  {static_cast<int64_t>(values.size())}, BytesOf(std::span<const int64_t>(values)));
}

std::string GraphBuilder::Int(int64_t value) {
  return Constant(fmt::format("i64_{}", value), ElementType::kInt64, {},
                  BytesOf(std::span<const int64_t>(&value, 1)));
}

std::string GraphBuilder::Int32(int32_t value) {
  return Constant(fmt::format("i32_{}", value), ElementType::kInt32, {},
                  BytesOf(std::span<const int32_t>(&value, 1)));
}

std::string GraphBuilder::Float(float value) {
  return Constant(fmt::format("f32_{}", value), ElementType::kFloat, {},
                  BytesOf(std::span<const float>(&value, 1)));
}

void GraphBuilder::BeginWeight(const std::string& name, const std::vector<int64_t>& shape) {
  auto* tensor = graph_->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(::onnx::TensorProto::FLOAT);
  int64_t num_bytes = sizeof(float);
  for (const int64_t size : shape) {
    tensor->add_dims(size);
    num_bytes *= size;
  }
  tensor->set_data_location(::onnx::TensorProto::EXTERNAL);
  const auto set = [&](const char* key, const std::string& value) {
    auto* entry = tensor->add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  };
  set("location", data_file_.filename().string());
  set("offset", std::to_string(data_size_));
  set("length", std::to_string(num_bytes));
}

Status GraphBuilder::AppendWeight(std::span<const float> values) {
  const auto num_bytes = static_cast<int64_t>(values.size_bytes());
  data_.write(reinterpret_cast<const char*>(values.data()), num_bytes);
  data_size_ += num_bytes;
  if (!data_) return IoError("{}: cannot write", data_file_.string());
  return {};
}

// Weights lie in the data file in the order of the initialisers that are external.
Status GraphBuilder::TakeWeightsIn() {
  EXPERTILE_ASSIGN(const MappedFile data, MappedFile::Open(data_file_));
  size_t offset = 0;
  for (auto& tensor : *graph_->mutable_initializer()) {
    if (tensor.data_location() != ::onnx::TensorProto::EXTERNAL) continue;
    size_t num_bytes = sizeof(float);
    for (const int64_t size : tensor.dims()) num_bytes *= size;
    tensor.set_raw_data(std::string(data.text().substr(offset, num_bytes)));
    tensor.clear_external_data();
    tensor.clear_data_location();
    offset += num_bytes;
  }
  std::error_code failure;
  if (!std::filesystem::remove(data_file_, failure)) {
    return IoError("{}: cannot remove: {}", data_file_.string(), failure.message());
  }
  return {};
}

void GraphBuilder::AddFunctions() {
  std::set<std::string> domains;
  for (const std::string& op : functions_) {
    domains.insert(DomainOf(op));
    AddFunction(op, *model_);
  }
  if (model_->functions_size() > static_cast<int>(functions_.size())) domains.insert(kLayerDomain);
  ImportOpset("", kOpset, *model_);
  for (const std::string& domain : domains) ImportOpset(domain, 1, *model_);
}

Status GraphBuilder::Save() {
  data_.close();
  if (!data_) return IoError("{}: cannot write", data_file_.string());
  if (data_size_ <= largest_inline_bytes_) EXPERTILE_RETURN_IF_ERROR(TakeWeightsIn());
  AddFunctions();
  std::ofstream output(file_, std::ios::binary | std::ios::trunc);
  if (!model_->SerializeToOstream(&output) || !output.flush()) {
    return IoError("{}: cannot write", file_.string());
  }
  return {};
}

}  // namespace expertile::onnx_target
