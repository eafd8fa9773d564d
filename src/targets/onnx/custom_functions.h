// The cache and packing ops of Cloud AI 100 as ONNX functions of plain nodes, so that any runtime
// can run them. Not their use: onnx_ops.cc.
//
//   CtxScatter(data [B,H,C,D], positions int64 [B,S], updates [B,H,S,D]): data with
//       data[b,h,positions[b,s],:] = updates[b,h,s,:]
//   CtxScatter3D, CtxScatter3DInt(data [B,T,D], positions int32 [B,S], updates [B,S,D])
//   CustomRMSNorm(x, weight; epsilon): x / sqrt(mean(x^2) + epsilon) * weight, over the last axis
//   CtxGather3D(data [B,T,D], indices int32 [B,S]) -> [B,S,D]
#pragma once

#include <string>

namespace onnx {
class ModelProto;
class NodeProto;
}  // namespace onnx

namespace expertile::onnx_target {

struct Attribute;

inline constexpr int kOpset = 17;  // of the standard ops
inline constexpr const char* kCacheDomain = "com.qualcomm.cloud";
inline constexpr const char* kNormDomain = "com.qti.aisw.onnx";

inline const char* DomainOf(const std::string& op) {
  return op == "CustomRMSNorm" ? kNormDomain : kCacheDomain;
}

// Adds the function `op` to the model.
void AddFunction(const std::string& op, ::onnx::ModelProto& model);

// Says which version of a domain's ops `importer`, a model or a function, uses.
template <typename Importer>
void ImportOpset(const std::string& domain, int version, Importer& importer) {
  auto* opset = importer.add_opset_import();
  opset->set_domain(domain);
  opset->set_version(version);
}

void SetAttribute(const Attribute& attribute, ::onnx::NodeProto* node);

}  // namespace expertile::onnx_target
