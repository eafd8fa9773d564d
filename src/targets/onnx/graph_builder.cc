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

constexpr int64_t kOpset = 17;
constexpr int64_t kIrVersion = 8;

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
  if (attribute.is_float) {
    proto->set_type(::onnx::AttributeProto::FLOAT);
    proto->set_f(attribute.number);
  } else if (!attribute.text.empty()) {
    proto->set_type(::onnx::AttributeProto::STRING);
    proto->set_s(attribute.text);
  } else if (attribute.is_list) {
    proto->set_type(::onnx::AttributeProto::INTS);
    for (const int64_t value : attribute.ints) proto->add_ints(value);
  } else {
    proto->set_type(::onnx::AttributeProto::INT);
    proto->set_i(attribute.ints[0]);
  }
}

GraphBuilder::GraphBuilder(std::string graph_name, std::filesystem::path data_file,
                           bool external_data)
    : model_(std::make_unique<::onnx::ModelProto>()),
      graph_(model_->mutable_graph()),
      data_file_(std::move(data_file)),
      external_data_(external_data) {
  model_->set_ir_version(kIrVersion);
  model_->set_producer_name("expertile");
  model_->set_producer_version(kVersion);
  graph_->set_name(std::move(graph_name));
  auto* standard = model_->add_opset_import();
  standard->set_domain("");
  standard->set_version(kOpset);
  if (external_data_) data_.open(PartialFile(), std::ios::binary | std::ios::trunc);
}

GraphBuilder::~GraphBuilder() {
  std::error_code ignored;
  if (external_data_) std::filesystem::remove(PartialFile(), ignored);
}

std::filesystem::path GraphBuilder::PartialFile() const { return data_file_.string() + ".partial"; }

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
  const auto [position, is_new] = constants_.emplace(key, "constant_" + key);
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
  if (!external_data_) return;
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
  if (!external_data_) {
    auto* tensor = graph_->mutable_initializer(graph_->initializer_size() - 1);
    tensor->mutable_raw_data()->append(reinterpret_cast<const char*>(values.data()), num_bytes);
    return {};
  }
  data_.write(reinterpret_cast<const char*>(values.data()), num_bytes);
  data_size_ += num_bytes;
  if (!data_) return IoError("{}: cannot write", data_file_.string());
  return {};
}

Status GraphBuilder::Save(const std::filesystem::path& file) {
  if (external_data_) {
    data_.close();
    if (!data_) return IoError("{}: cannot write", data_file_.string());
    std::error_code failure;
    std::filesystem::rename(PartialFile(), data_file_, failure);
    if (failure) return IoError("{}: cannot rename: {}", data_file_.string(), failure.message());
  }
  std::set<std::string> domains;
  for (const std::string& op : functions_) {
    domains.insert(DomainOf(op));
    AddFunction(op, *model_);
  }
  for (const std::string& domain : domains) {
    auto* custom = model_->add_opset_import();
    custom->set_domain(domain);
    custom->set_version(1);
  }
  std::string bytes;
  if (!model_->SerializeToString(&bytes)) {
    return Fail(ErrorCode::kOutOfMemory, "{}: the graph cannot be written", file.string());
  }
  EXPERTILE_ASSIGN(AtomicFile output, AtomicFile::Create(file));
  EXPERTILE_RETURN_IF_ERROR(output.Append(bytes));
  return output.Commit();
}

}  // namespace expertile::onnx_target
