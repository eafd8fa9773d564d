#include "jinja/environment.h"

#include "jinja/error.h"

namespace jinja {

Environment::~Environment() {
  for (const auto& entry : namespaces_) entry->attributes = Dict();
}

Status Environment::Step(int64_t num_steps) {
  num_steps_ += num_steps;
  if (num_steps_ <= options_.limits.max_steps) return {};
  return Invalid("more than {} steps", options_.limits.max_steps);
}

Status Environment::CheckSize(size_t size) const {
  if (size <= options_.limits.max_output_size) return {};
  return Invalid("a value of {} bytes, limit {}", size, options_.limits.max_output_size);
}

Status Environment::Allocate(size_t size) {
  JINJA_RETURN_IF_ERROR(CheckSize(size));
  memory_ += size;
  if (memory_ <= options_.limits.max_memory) return {};
  return Invalid("values of more than {} bytes together", options_.limits.max_memory);
}

std::tm Environment::Now() const {
  if (options_.clock) return options_.clock();
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  return local;
}

std::shared_ptr<Namespace> Environment::MakeNamespace() {
  namespaces_.push_back(std::make_shared<Namespace>());
  return namespaces_.back();
}

}  // namespace jinja
